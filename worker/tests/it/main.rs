//! Black-box tests of the worker, on real Postgres, Redis and processes.

mod providers;
mod stripe;
