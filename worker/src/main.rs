//! Binary of the worker. The command line is in commands/mod.rs, what runs
//! without a command in lib.rs.

use std::process::ExitCode;

use clap::Parser;
use regimen_common::process;
use regimen_worker::commands::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    process::main(|| {
        process::install_crypto();
        cli.run()
    })
}
