//! SQL of profiles and quiz results.
