//! `cargo xtask …`: everything a developer runs, behind one command that needs
//! nothing installed but Rust.

mod alerts;
mod bench;
mod binaries;
mod chaos;
mod cli;
mod clock;
mod demo;
mod down;
mod figures;
mod http;
mod interrupts;
mod key_values;
mod load;
mod migrate;
mod node;
mod orphans;
mod place;
mod provision;
mod psql;
mod python;
mod resp;
mod secrets;
mod servers;
mod session;
mod show;
mod stack;
mod state;
mod suites;
mod test;
mod token;
mod up;
mod upgrade;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
