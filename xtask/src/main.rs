//! `cargo xtask …`: everything a developer runs, behind one command that needs
//! nothing installed but Rust.

mod account;
mod cli;
mod leash;
mod postgres;
mod process;
mod provision;
mod redis;
mod servers;
mod session;
mod signal;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
