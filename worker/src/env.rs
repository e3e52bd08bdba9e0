//! Everything a job may use, built once in main.
