//! `cargo xtask …`: everything a developer runs, behind one command that needs
//! nothing installed but Rust.

mod account;
mod bench;
mod chaos;
mod cli;
mod clock;
mod demo;
mod down;
mod figures;
mod http;
mod key_values;
mod leash;
mod load;
mod migrate;
mod orphans;
mod postgres;
mod process;
mod provision;
mod psql;
mod redis;
mod resp;
mod secrets;
mod servers;
mod session;
mod show;
mod signal;
mod stack;
mod state;
mod suites;
mod test;
mod token;
mod up;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
