//! k6: the pinned one in an environment of its own, or the one on the PATH
//! where there is no Python to make the environment with.

use std::collections::BTreeMap;
use std::process::{Command, ExitStatus, Stdio};

use crate::python::{Unavailable, Venv, VenvError};
use crate::session::Session;
use regimen_devtools::process::{Output, Process, ProcessError};
use regimen_devtools::signal::Ending;

/// The folder of the scripts and their requirements.
const FOLDER: &str = "load-tests/k6";

/// k6's exit code for a failed threshold (its package `errext/exitcodes`).
const THRESHOLDS_FAILED: i32 = 99;

/// A k6 program and the environment of its scripts.
pub(super) struct K6 {
    venv: Option<Venv>,
    settings: BTreeMap<&'static str, String>,
}

/// The result of a script.
pub(super) struct Outcome {
    pub(super) script: &'static str,
    status: ExitStatus,
}

impl K6 {
    /// Finds it, or installs it where that is possible.
    ///
    /// # Errors
    /// There is none ([`VenvError::Unavailable`]), or it cannot be installed.
    pub(super) fn find(session: &Session) -> Result<Self, VenvError> {
        let requirements = session.workspace.root().join(FOLDER).join("requirements.txt");
        let venv = match Venv::of(session, "k6", &requirements) {
            Ok(venv) => Some(venv),
            Err(VenvError::Unavailable(_)) if is_on_path() => None,
            Err(VenvError::Unavailable(Unavailable { what, remedy })) => {
                let remedy = format!("{remedy}; or put k6 on the PATH");
                return Err(VenvError::Unavailable(Unavailable { what, remedy }));
            }
            Err(error) => return Err(error),
        };
        Ok(Self { venv, settings: BTreeMap::new() })
    }

    /// Sets a variable in the scripts' environment.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.settings.insert(name, value.to_owned());
    }

    /// Runs the scripts one after the other, also after a failure. They print their own
    /// figures.
    ///
    /// # Errors
    /// k6 cannot be started, or the program is interrupted.
    pub(super) fn run_all(
        &self,
        session: &Session,
        scripts: &[&'static str],
    ) -> Result<Vec<Outcome>, ProcessError> {
        let run = |script: &&'static str| {
            session.say(format_args!("running {script}"));
            let command = self.command(session, script);
            let mut k6 = Process::start("k6", command, Output::Ours, Ending::Terminate)?;
            Ok(Outcome { script, status: k6.wait(session)? })
        };
        scripts.iter().map(run).collect()
    }

    fn command(&self, session: &Session, script: &str) -> Command {
        let mut k6 =
            self.venv.as_ref().map_or_else(|| Command::new("k6"), |venv| venv.program("k6"));
        k6.current_dir(session.workspace.root());
        // Without its REST server, whose port another run may use.
        k6.args(["run", "--quiet", "--address", ""]).arg(format!("{FOLDER}/{script}.js"));
        // No usage report, and no request for another build of k6.
        k6.env("K6_NO_USAGE_REPORT", "true").env("K6_AUTO_EXTENSION_RESOLUTION", "false");
        k6.envs(&self.settings);
        k6
    }
}

fn is_on_path() -> bool {
    let mut k6 = Command::new("k6");
    k6.arg("version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    k6.status().is_ok_and(|status| status.success())
}

impl Outcome {
    /// Whether every threshold held.
    pub(super) fn passed(&self) -> bool {
        self.status.success()
    }

    /// Text for the table.
    pub(super) fn verdict(&self) -> String {
        match self.status.code() {
            Some(0) => "passed".to_owned(),
            Some(THRESHOLDS_FAILED) => "FAILED: a threshold".to_owned(),
            _ => format!("FAILED: k6 ended with {}", self.status),
        }
    }
}
