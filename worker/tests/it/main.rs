//! Black-box tests of the worker, on real Postgres, Redis and processes.

mod fitting_plans;
mod budget;
mod providers;
mod stripe;
