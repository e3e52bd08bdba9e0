//! The operators' console as a browser without JavaScript uses it.

mod acting;
pub(crate) mod browser;
mod looking;
mod overview;
mod signing_in;
mod trying;
mod users;
