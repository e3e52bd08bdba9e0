//! The pinned npm packages of a folder, in `node_modules` beside its `package.json`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::python::Unavailable;
use crate::session::Session;
use regimen_devtools::process::{Output, Process, ProcessError};

const OLDEST: u32 = 20;

/// Why the packages are not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// Node is missing.
    #[error(transparent)]
    Unavailable(Unavailable),
    /// The packages cannot be installed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file of the folder cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// npm, in a folder.
pub(crate) fn npm(folder: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(folder);
    command
}

/// Installs what `package-lock.json` of a folder pins, unless it is there.
///
/// # Errors
/// Node is missing ([`NodeError::Unavailable`]), or the packages cannot be installed.
pub(crate) fn install(session: &Session, folder: &Path) -> Result<(), NodeError> {
    is_there()?;
    let mark = folder.join("node_modules/.installed-from");
    let file = |source| NodeError::File { path: mark.clone(), source };
    let wanted = std::fs::read(folder.join("package-lock.json")).map_err(file)?;
    if std::fs::read(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    session.say(format_args!("installing the packages of {} (once)", folder.display()));
    let mut command = npm(folder);
    command.args(["ci", "--ignore-scripts", "--legacy-peer-deps", "--silent"]);
    command.args(["--no-audit", "--no-fund"]);
    Process::run(session, "npm", command, Output::Ours)?;
    std::fs::write(&mark, wanted).map_err(file)
}

fn is_there() -> Result<(), NodeError> {
    let lacks = |what: String| {
        let remedy = format!("install Node.js {OLDEST} or newer with npm");
        NodeError::Unavailable(Unavailable { what, remedy })
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
