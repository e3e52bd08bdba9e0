//! Integration tests of the shared crate, on real Postgres and Redis.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod accounts;
mod app_tables;
mod billing_apply;
mod billing_backfill;
mod billing_db;
mod billing_stories;
mod callbacks;
mod cluster;
mod connections;
mod database;
mod generations;
mod indexes;
mod jobs;
mod metrics;
mod migrations;
mod plans;
mod pool;
mod processes;
mod quiz_corpus;
mod quiz_measures;
mod redis;
mod row_security;
mod snapshot;
mod transaction;
mod triggers;
mod windows;
