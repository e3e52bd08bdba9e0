//! Suites in other languages than Rust: tools and client libraries that the
//! real binaries are held against.
//!
//! Each brings its own packages under `target`. Where its language is missing
//! the suite is skipped, and says so loudly; in CI (`CI=true`) that is a failure.

pub(crate) mod python;
mod schemathesis;

use std::io;
use std::path::{Path, PathBuf};

use crate::http::HttpError;
use crate::key_values::FileError;
use crate::load;
use crate::provision::Programs;
use crate::secrets::Secrets;
use crate::servers::{Servers, ServersError};
use crate::session::Session;
use crate::stack::{Providers, Stack, StackError, StackPlan};
use crate::workspace::Profile;
use regimen_devtools::process::ProcessError;

/// A suite: its name on the command line, and what runs it.
struct Suite {
    name: &'static str,
    run: fn(&Place<'_>) -> Result<(), SuiteError>,
}

/// All of them, in the order they run.
const SUITES: [Suite; 2] = [
    Suite { name: "schemathesis", run: schemathesis::run },
    Suite { name: "k6", run: load::rehearse },
];

/// What a suite may use.
pub(crate) struct Place<'a> {
    /// The run it belongs to.
    pub(crate) session: &'a Session,
    /// PostgreSQL and Redis.
    pub(crate) programs: &'a Programs,
    /// A folder of its own.
    pub(crate) folder: &'a Path,
    /// How the binaries were compiled.
    pub(crate) profile: Profile,
}

/// What a suite needs and this machine lacks.
#[derive(Debug)]
pub(crate) struct Unavailable {
    /// The language or tool.
    pub(crate) what: String,
    /// How to get it.
    pub(crate) remedy: String,
}

/// Why a suite did not pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuiteError {
    /// Its language is not here.
    #[error("this machine lacks {}; {}", .0.what, .0.remedy)]
    Unavailable(Unavailable),
    /// Its packages cannot be installed, or it found something.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file of it is out of reach.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The secrets of its stack are out of reach.
    #[error(transparent)]
    Secrets(#[from] FileError),
    /// PostgreSQL or Redis does not start.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// A process of ours does not start.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// Load tests whose thresholds did not hold.
    #[error("these load tests failed: {0}")]
    Load(String),
    /// A request to the stack failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// There is no suite of that name.
    #[error("there is no suite {0}; there are: {1}")]
    Unknown(String, String),
}

/// Runs every suite, or the one named; whether all passed.
///
/// # Errors
/// There is no such suite.
pub(crate) fn run(
    session: &Session,
    programs: &Programs,
    folder: &Path,
    only: Option<&str>,
) -> Result<bool, SuiteError> {
    let is_wanted = |suite: &&Suite| only.is_none_or(|name| name == suite.name);
    let wanted: Vec<_> = SUITES.iter().filter(is_wanted).collect();
    if only.is_some() && wanted.is_empty() {
        let names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        let only = only.unwrap_or_default().to_owned();
        return Err(SuiteError::Unknown(only, names.join(", ")));
    }
    let mut all_passed = true;
    for Suite { name, run, .. } in wanted {
        session.say(format_args!("running the suite {name}"));
        let folder = &folder.join(name);
        let place = Place { session, programs, folder, profile: Profile::Dev };
        let passed = match run(&place) {
            Ok(()) => {
                session.say(format_args!("suite {name}: passed"));
                true
            }
            Err(SuiteError::Unavailable(lack)) if !in_ci() => {
                session.say(format_args!("suite {name}: {}", skipped(&lack)));
                true
            }
            Err(error) => {
                session.say(format_args!("suite {name}: FAILED: {error}"));
                false
            }
        };
        all_passed &= passed;
    }
    Ok(all_passed)
}

/// Where nothing may be skipped.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

fn skipped(lack: &Unavailable) -> String {
    format!("SKIPPED, nothing was tested: this machine lacks {}; {}", lack.what, lack.remedy)
}

impl Place<'_> {
    /// A stack of the binaries as they were compiled, with servers and data of
    /// its own and the simulator as provider.
    ///
    /// # Errors
    /// Something of it does not start.
    pub(crate) fn stack(
        &self,
        ingress_settings: &[(&str, &str)],
        worker_settings: &[(&str, &str)],
    ) -> Result<(Stack, Secrets), SuiteError> {
        let secrets = Secrets::of(self.folder)?;
        let (programs, passwords) = (self.programs.clone(), secrets.passwords.clone());
        let servers = Servers::start(self.session, programs, self.folder, passwords)?;
        let plan = StackPlan {
            folder: self.folder,
            binaries: &self.session.workspace.binaries(self.profile),
            secrets: &secrets,
            workers: 1,
            providers: Providers::Simulator,
            ingress_settings,
            worker_settings,
        };
        let stack = plan.start(self.session, servers)?;
        Ok((stack, secrets))
    }

    /// A file of the suite in the repository.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.session.workspace.root().join(path)
    }
}
