//! Integration tests of the shared crate, on real Postgres and Redis.
