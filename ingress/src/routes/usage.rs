//! What is left of the caller's limits.
