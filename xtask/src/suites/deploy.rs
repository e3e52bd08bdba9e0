//! Checks the files of deployment with the tools they are for: `deploy/checks/check.py`
//! runs hadolint, helm, kubectl and the published schemas on them.

use super::SuiteError;
use crate::node;
use crate::place::Place;
use crate::python::Venv;
use regimen_devtools::process::{Output, Process};

/// The folder of the checks.
const FOLDER: &str = "deploy/checks";

/// Runs it.
///
/// # Errors
/// A tool found a problem, or there are no tools.
pub(super) fn run(place: &Place<'_>) -> Result<(), SuiteError> {
    let folder = place.file(FOLDER);
    let venv = Venv::of(place.session, "deploy", &folder.join("requirements.txt"))?;
    node::install(place.session, &folder)?;
    let failed = |source| SuiteError::Folder { path: place.folder.to_owned(), source };
    std::fs::create_dir_all(place.folder).map_err(failed)?;
    let mut command = venv.program("python");
    command.arg(folder.join("check.py")).arg(place.session.workspace.root());
    command.arg(folder.join("node_modules")).arg(place.folder);
    Process::run(place.session, "deploy checks", command, Output::Ours)?;
    Ok(())
}
