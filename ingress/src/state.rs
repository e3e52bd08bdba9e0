//! Everything a handler may use, built once in main.
