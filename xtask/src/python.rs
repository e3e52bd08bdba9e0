//! A virtual environment under `target` for a suite that is written in Python.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::session::Session;
use regimen_devtools::process::{Output, Process, ProcessError};

/// The variable that names the interpreter; it has priority.
const VARIABLE: &str = "REGIMEN_PYTHON";

/// The oldest Python the suites run on.
const SINCE: (u32, u32) = (3, 10);

/// Prints the version; fails if no environment can be made: Debian has `ensurepip` in a
/// separate package.
const PROBE: &str =
    "import sys, venv, ensurepip; print(sys.version_info.major, sys.version_info.minor)";

/// What a suite needs and this machine lacks.
#[derive(Debug, thiserror::Error)]
#[error("this machine lacks {what}; {remedy}")]
pub(crate) struct Unavailable {
    /// The language or tool.
    pub(crate) what: String,
    /// How to get it.
    pub(crate) remedy: String,
}

/// Why there is no environment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VenvError {
    /// There is no Python to make it with.
    #[error(transparent)]
    Unavailable(Unavailable),
    /// The packages cannot be installed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file of it cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A virtual environment for the packages of one suite.
#[derive(Debug, Clone)]
pub(crate) struct Venv {
    bin: PathBuf,
}

impl Venv {
    /// The environment of suite `name` with the packages that `requirements` pins; made
    /// if it is missing or the file has changed.
    ///
    /// # Errors
    /// There is no Python ([`VenvError::Unavailable`]), or the packages cannot be installed.
    pub(crate) fn of(
        session: &Session,
        name: &str,
        requirements: &Path,
    ) -> Result<Self, VenvError> {
        let python = interpreter().ok_or(VenvError::Unavailable(Unavailable {
            what: format!("Python {}.{} or newer with venv", SINCE.0, SINCE.1),
            remedy: format!("install it (Debian: python3-venv), or name it by {VARIABLE}"),
        }))?;
        let folder = session.workspace.place("venvs").join(name);
        let file = |source| VenvError::File { path: folder.clone(), source };
        // Written last: it means that the environment is complete.
        let marker = folder.join("installed");
        let wanted = std::fs::read_to_string(requirements)
            .map_err(|source| VenvError::File { path: requirements.to_owned(), source })?;
        std::fs::create_dir_all(session.workspace.place("venvs")).map_err(file)?;
        // Of two runs at once, the second waits for the environment of the first.
        let lock = File::create(folder.with_extension("lock")).map_err(file)?;
        lock.lock().map_err(file)?;
        let venv = Self { bin: folder.join("bin") };
        if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
            return Ok(venv);
        }
        session.say(format_args!("installing the packages of {name} (once)"));
        remove(&folder).map_err(file)?;
        let log = folder.with_extension("log");
        let mut make = Command::new(&python);
        make.args(["-m", "venv"]).arg(&folder);
        Process::run(session, "python -m venv", make, Output::Log(&log))?;
        let mut install = venv.program("python");
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        install.arg("--requirement").arg(requirements);
        Process::run(session, "pip install", install, Output::Log(&log))?;
        std::fs::write(&marker, wanted).map_err(file)?;
        Ok(venv)
    }

    /// A program of the environment: `python`, or one of a package.
    pub(crate) fn program(&self, name: &str) -> Command {
        Command::new(self.bin.join(name))
    }
}

/// The first supported Python that can make environments.
fn interpreter() -> Option<PathBuf> {
    match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        Some(named) => Some(PathBuf::from(named)).filter(|python| fits(python)),
        None => ["python3", "python"].map(PathBuf::from).into_iter().find(|python| fits(python)),
    }
}

fn fits(python: &Path) -> bool {
    let Ok(output) = Command::new(python).args(["-c", PROBE]).output() else { return false };
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success() && is_new_enough(&version)
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split_whitespace().map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()),
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= SINCE)
}

fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_new_enough("3 10\n") && is_new_enough("3 14\n") && is_new_enough("4 0\n"));
        assert!(!is_new_enough("3 9\n") && !is_new_enough("2 70\n"));
        assert!(!is_new_enough("") && !is_new_enough("3") && !is_new_enough("Python 3.12"));
    }

    #[test]
    fn what_is_no_python_does_not_fit() {
        assert!(!fits(Path::new("true")) && !fits(Path::new("/nonexistent/python3")));
    }
}
