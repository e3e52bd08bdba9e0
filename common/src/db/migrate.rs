//! Applies the embedded migrations, one process at a time.
