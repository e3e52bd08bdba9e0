//! Compiles the binaries of a stack.

use crate::session::Session;
use crate::workspace::Profile;
use regimen_devtools::process::{Output, Process, ProcessError};

/// Their packages.
const PACKAGES: [&str; 3] = ["regimen-ingress", "regimen-worker", "regimen-simulator"];

/// Compiles them, with cargo's progress output.
///
/// # Errors
/// They do not compile.
pub(crate) fn build(session: &Session, profile: Profile) -> Result<(), ProcessError> {
    session.say("compiling the binaries (minutes at first, seconds later)");
    let mut cargo = session.workspace.cargo();
    cargo.args(["build", "--bins"]);
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    Process::run(session, "cargo build", cargo, Output::Ours)
}
