//! Suites that test the real binaries: tools and client libraries in other
//! languages than Rust, and the short versions of long runs.
//!
//! Each installs its own packages under `target`, or as `node_modules` beside its files. If
//! its language is missing, the suite is skipped with a warning; in CI (`CI=true`) that is a
//! failure.

mod console;
mod deploy;
mod monitoring;
mod samples;
mod schemathesis;
mod typescript;

use std::path::{Path, PathBuf};

use crate::chaos::{self, ChaosError};
use crate::demo::DemoError;
use crate::http::HttpError;
use crate::load::{self, LoadError};
use crate::node::NodeError;
use crate::place::{Place, PlaceError};
use crate::provision::{MonitoringError, Programs, ProvisionError};
use crate::psql::PsqlError;
use crate::python::{Unavailable, VenvError};
use crate::session::Session;
use crate::stack::StackError;
use crate::workspace::Profile;
use regimen_devtools::Interrupted;
use regimen_devtools::process::ProcessError;

/// A suite: its name on the command line, and the function that runs it.
struct Suite {
    name: &'static str,
    run: fn(&Place<'_>) -> Result<(), SuiteError>,
}

/// All of them, in the order they run.
const SUITES: [Suite; 11] = [
    Suite { name: "console", run: console::run },
    Suite { name: "deploy", run: deploy::run },
    Suite { name: "monitoring", run: monitoring::run },
    Suite { name: "schemathesis", run: schemathesis::run },
    Suite { name: "typescript", run: typescript::run },
    Suite { name: "samples-curl", run: samples::curl },
    Suite { name: "samples-typescript", run: samples::typescript },
    Suite { name: "samples-python", run: samples::python },
    Suite { name: "k6", run: |place| Ok(load::rehearse(place)?) },
    Suite { name: "restart", run: |place| kept(chaos::rehearse_restart(place.session)?) },
    Suite { name: "failover", run: |place| kept(chaos::rehearse_failovers(place.session)?) },
];

/// Why a suite failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuiteError {
    /// Its packages are missing.
    #[error(transparent)]
    Venv(#[from] VenvError),
    /// Its npm packages are missing.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A program that it needs is missing.
    #[error(transparent)]
    Lacks(Unavailable),
    /// Its tools are missing.
    #[error(transparent)]
    Tools(#[from] MonitoringError),
    /// A folder of its files cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Folder {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Its stack does not start.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Its stack did not report an address.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// Its browser is missing.
    #[error(transparent)]
    Browser(#[from] ProvisionError),
    /// Its data could not be inserted.
    #[error(transparent)]
    Psql(#[from] PsqlError),
    /// The sample quiz cannot be read.
    #[error(transparent)]
    Quiz(#[from] DemoError),
    /// Its stack refused a request.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A sample of the API's description does not do what it says.
    #[error("{name}: {problem}")]
    Sample {
        /// Its language and call.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// It found a problem, or could not run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A threshold did not hold, or the load tests could not be run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A run of the fleet had no result.
    #[error(transparent)]
    Chaos(#[from] ChaosError),
    /// A run of the fleet broke a promise.
    #[error("promises were broken; the report above says which")]
    Broken,
    /// There is no suite of that name.
    #[error("there is no suite {0}; there are: {1}")]
    Unknown(String, String),
}

impl SuiteError {
    /// What this machine lacks to run it, if that is the reason.
    fn lack(&self) -> Option<String> {
        match self {
            Self::Venv(VenvError::Unavailable(lack))
            | Self::Load(LoadError::Venv(VenvError::Unavailable(lack)))
            | Self::Node(NodeError::Unavailable(lack))
            | Self::Lacks(lack) => Some(lack.to_string()),
            Self::Tools(error) if error.is_lack() => Some(error.to_string()),
            Self::Browser(
                error @ (ProvisionError::NoInstaller { .. } | ProvisionError::NotOffered { .. }),
            ) => Some(error.to_string()),
            _ => None,
        }
    }
}

/// Runs every suite, or the named one; returns whether all passed.
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
            Err(error) => match error.lack().filter(|_| !in_ci()) {
                Some(lack) => {
                    session.say(format_args!("suite {name}: {}", skipped(&lack)));
                    true
                }
                None => {
                    session.say(format_args!("suite {name}: FAILED: {error}"));
                    false
                }
            },
        };
        all_passed &= passed;
    }
    Ok(all_passed)
}

fn kept(kept: bool) -> Result<(), SuiteError> {
    if kept { Ok(()) } else { Err(SuiteError::Broken) }
}

/// Whether skipping is a failure.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

fn skipped(lack: &str) -> String {
    format!("SKIPPED, nothing was tested: {lack}")
}
