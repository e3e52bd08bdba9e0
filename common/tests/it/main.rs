//! Integration tests of the shared crate, on real Postgres and Redis.

#![expect(clippy::unwrap_used, reason = "tests")]

mod database;
mod quiz_corpus;
