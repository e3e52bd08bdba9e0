//! The pinned npm packages of a suite, in `node_modules` beside its `package.json`.

use std::io;
use std::path::Path;
use std::process::Command;

use super::SuiteError;
use crate::place::Place;
use crate::python::Unavailable;
use regimen_devtools::process::{Output, Process};

const OLDEST: u32 = 20;

/// npm, in a folder.
pub(super) fn npm(folder: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(folder);
    command
}

/// Installs what `package-lock.json` of a folder pins, unless it is there.
///
/// # Errors
/// Node is missing ([`SuiteError::Lacks`]), or the packages cannot be installed.
pub(super) fn install(place: &Place<'_>, folder: &Path) -> Result<(), SuiteError> {
    is_there()?;
    let mark = folder.join("node_modules/.installed-from");
    let file = |source| SuiteError::Folder { path: mark.clone(), source };
    let wanted = std::fs::read(folder.join("package-lock.json")).map_err(file)?;
    if std::fs::read(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    place.session.say(format_args!("installing the packages of {} (once)", folder.display()));
    let mut command = npm(folder);
    command.args(["ci", "--ignore-scripts", "--legacy-peer-deps", "--silent"]);
    command.args(["--no-audit", "--no-fund"]);
    Process::run(place.session, "npm", command, Output::Ours)?;
    std::fs::write(&mark, wanted).map_err(file)
}

fn is_there() -> Result<(), SuiteError> {
    let lacks = |what: String| {
        let remedy = format!("install Node.js {OLDEST} or newer with npm");
        SuiteError::Lacks(Unavailable { what, remedy })
    };
    let version = Command::new("node").arg("--version").output();
    let version = version.map_err(|error: io::Error| lacks(format!("node ({error})")))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().unwrap_or_default();
    if !major.parse::<u32>().is_ok_and(|major| major >= OLDEST) {
        return Err(lacks(format!("node {OLDEST} (it has {version})")));
    }
    match Command::new("npm").arg("--version").output() {
        Ok(_) => Ok(()),
        Err(error) => Err(lacks(format!("npm ({error})"))),
    }
}
