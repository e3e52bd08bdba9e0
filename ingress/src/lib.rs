//! The thin door: authenticates, validates, limits, verifies webhooks,
//! commits jobs and answers. It does no slow work itself.

pub mod auth;
pub mod client_address;
pub mod config;
pub mod error;
pub mod extract;
pub mod middleware;
pub mod openapi;
pub mod routes;
pub mod serve;
pub mod state;
pub mod watch;
