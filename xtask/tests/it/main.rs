//! Runs the `xtask` program itself, with the real binaries and private
//! servers: `cargo xtask test` compiles them before it runs this.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

mod rooms;
mod support;
mod up;
