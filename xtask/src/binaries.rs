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
    compile(session, profile, &PACKAGES)
}

/// Compiles this program with optimisation.
///
/// # Errors
/// It does not compile.
pub(crate) fn build_xtask(session: &Session) -> Result<(), ProcessError> {
    session.say("compiling the load generator (a minute at first, seconds later)");
    compile(session, Profile::Release, &["xtask"])
}

fn compile(session: &Session, profile: Profile, packages: &[&str]) -> Result<(), ProcessError> {
    let mut cargo = session.workspace.cargo();
    cargo.args(["build", "--bins"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    cargo.args(profile.arguments());
    Process::run(session, "cargo build", cargo, Output::Ours)
}
