//! Code that the ingress and the worker share: the domain (pure), the SQL, the
//! dispatch lists and the plumbing of a process.
//!
//! Dependencies: `dispatch` uses `db` and `redis`, `rate_limit` uses `redis`,
//! `db` uses the domain modules (`account`, `billing`, `callbacks`, `food`,
//! `job`, `lexicon`, `nutrition`, `quiz`, `safety`, `weights`); those import no
//! module that does I/O.

pub mod account;
pub mod address_file;
pub mod backoff;
pub mod billing;
pub mod callbacks;
pub mod causes;
pub mod check;
pub mod clock;
pub mod config;
pub mod db;
pub mod dispatch;
pub mod food;
pub mod job;
pub mod lexicon;
pub mod named;
pub mod nutrition;
pub mod process;
pub mod profile;
pub mod provider;
pub mod quiz;
pub mod rate_limit;
pub mod readiness;
pub mod redis;
pub mod roots;
pub mod safety;
pub mod shutdown;
pub mod start;
pub mod stripe;
pub mod telemetry;

#[cfg(feature = "test-support")]
pub mod test_support;
pub mod weights;
