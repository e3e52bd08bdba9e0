//! `cargo xtask load`: runs the k6 scripts of `load-tests/k6` against their own
//! stack or a given deployment; it passes if their thresholds hold. Short
//! versions of all scripts are a suite of `cargo xtask test`.

mod k6;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::binaries;
use crate::place::{Place, PlaceError};
use crate::provision::{self, ProvisionError};
use crate::psql::PsqlError;
use crate::python::VenvError;
use crate::servers;
use crate::session::Session;
use crate::stack::{Stack, StackError};
use crate::state::{Lock, LockError};
use crate::workspace::Profile;
use k6::{K6, Outcome};
use regimen_devtools::process::ProcessError;

/// The folder of the command's stack and summaries under `target`.
const FOLDER: &str = "load";

/// All scripts in the order they run: those that leave the most queued jobs are last.
const SCRIPTS: [&str; 7] = [
    "ai-generation-test",
    "polling-test",
    "sse-test",
    "stripe-webhook-test",
    "soak-test",
    "api-test",
    "spike-test",
];

/// The query that shows the scripts' effect on the database, run right after them.
const DATABASE_SQL: &str = "load-tests/k6/database.sql";

/// Settings for another deployment that must not reach our own stack.
const FOREIGN: [&str; 4] = ["TOKENS_FILE", "JWT_ISSUER", "JWT_AUDIENCE", "STRIPE_PRICE"];

/// What `cargo xtask load` takes.
#[derive(Args)]
pub(crate) struct LoadArgs {
    /// Only these scripts, such as `api-test` or `soak`; all of them when none is named.
    #[arg(value_name = "NAME")]
    pub(crate) scripts: Vec<String>,
    /// Run each for a few seconds only.
    #[arg(long)]
    pub(crate) brisk: bool,
    /// Use this deployment, like API_URL. Its credentials come from the environment:
    /// JWT_SECRET or TOKENS_FILE, and STRIPE_WEBHOOK_SECRET.
    #[arg(long, value_name = "URL")]
    pub(crate) api_url: Option<String>,
    /// Compile the stack with optimisation.
    #[arg(long, conflicts_with = "api_url")]
    pub(crate) release: bool,
    /// Use the existing binaries.
    #[arg(long, hide = true, conflicts_with = "api_url")]
    pub(crate) no_build: bool,
}

/// Why the load test failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// There is no such script.
    #[error("there is no load test {0}; there are: {known}", known = SCRIPTS.join(", "))]
    Unknown(String),
    /// Another run holds the lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// PostgreSQL or Redis is missing.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// The code does not compile, or k6 cannot be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// k6 is missing.
    #[error(transparent)]
    Venv(#[from] VenvError),
    /// The stack does not start.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The stack did not report an address.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// Thresholds of the suite did not hold.
    #[error("these load tests failed: {0}")]
    Failed(String),
    /// The query of the database failed.
    #[error(transparent)]
    Psql(#[from] PsqlError),
    /// A folder of the run cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

/// Runs the command; the exit code says whether every threshold held.
///
/// # Errors
/// See [`LoadError`].
pub(crate) fn run(session: &Session, args: &LoadArgs) -> Result<ExitCode, LoadError> {
    let scripts = chosen(&args.scripts)?;
    let folder = session.workspace.place(FOLDER);
    let _lock = Lock::take(&folder)?;
    let summaries = folder.join("summaries");
    let failed = |source| LoadError::Folder { path: summaries.clone(), source };
    std::fs::create_dir_all(&summaries).map_err(failed)?;
    let mut k6 = K6::find(session)?;
    k6.set("SUMMARY_DIR", &summaries.display().to_string());
    k6.set("BRISK", if args.brisk { "1" } else { "" });
    let named = std::env::var("API_URL").ok().filter(|url| !url.is_empty());
    let outcomes = match args.api_url.clone().or(named) {
        Some(url) => {
            session.say(format_args!("the load goes to {url}"));
            k6.set("API_URL", &url);
            k6.run_all(session, &scripts)?
        }
        None => at_own_stack(session, args, &mut k6, &scripts)?,
    };
    let _ = std::io::stdout().write_all(table(&outcomes).as_bytes());
    session.say(format_args!("summaries: {}", session.workspace.show(&summaries)));
    let passed = outcomes.iter().all(Outcome::passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The suite: all scripts, for a few seconds each.
///
/// # Errors
/// A threshold failed, or k6 or its stack cannot run.
pub(crate) fn rehearse(place: &Place<'_>) -> Result<(), LoadError> {
    let mut k6 = K6::find(place.session)?;
    k6.set("BRISK", "1");
    let stack = start(place, &mut k6)?;
    let outcomes = k6.run_all(place.session, &SCRIPTS)?;
    drop(stack);
    let failed: Vec<_> =
        outcomes.iter().filter(|outcome| !outcome.passed()).map(|outcome| outcome.script).collect();
    if failed.is_empty() { Ok(()) } else { Err(LoadError::Failed(failed.join(", "))) }
}

fn at_own_stack(
    session: &Session,
    args: &LoadArgs,
    k6: &mut K6,
    scripts: &[&'static str],
) -> Result<Vec<Outcome>, LoadError> {
    let programs = provision::programs(session)?;
    let profile = if args.release { Profile::Release } else { Profile::Dev };
    if !args.no_build {
        binaries::build(session, profile)?;
    }
    let folder = session.workspace.place(FOLDER);
    servers::remove_data(&folder)
        .map_err(|source| LoadError::Folder { path: folder.clone(), source })?;
    let place = Place { session, programs: &programs, folder: &folder, profile };
    let stack = start(&place, k6)?;
    let outcomes = k6.run_all(session, scripts)?;
    let told = stack.psql().run_file(&session.workspace.root().join(DATABASE_SQL))?;
    let path = folder.join("summaries").join("database.txt");
    std::fs::write(&path, told).map_err(|source| LoadError::Folder { path, source })?;
    Ok(outcomes)
}

/// Starts a stack and passes its addresses and secrets to the scripts.
fn start(place: &Place<'_>, k6: &mut K6) -> Result<Stack, LoadError> {
    let (stack, secrets) = place.stack(&[], &[])?;
    FOREIGN.iter().for_each(|name| k6.set(name, ""));
    k6.set("API_URL", &stack.ingress_url()?);
    k6.set("SIMULATOR_URL", &stack.simulator_url()?);
    k6.set("JWT_SECRET", &secrets.jwt);
    k6.set("STRIPE_WEBHOOK_SECRET", &secrets.stripe_webhook);
    k6.set("METRICS_URLS", &stack.metrics_pages()?.join(","));
    Ok(stack)
}

/// The named scripts, with or without `-test`; all if none is named.
fn chosen(names: &[String]) -> Result<Vec<&'static str>, LoadError> {
    if names.is_empty() {
        return Ok(SCRIPTS.to_vec());
    }
    let find = |name: &String| {
        let is_meant =
            |script: &&&str| **script == name || script.trim_end_matches("-test") == name;
        SCRIPTS.iter().find(is_meant).copied().ok_or_else(|| LoadError::Unknown(name.clone()))
    };
    names.iter().map(find).collect()
}

/// One line per script.
fn table(outcomes: &[Outcome]) -> String {
    let width = outcomes.iter().map(|outcome| outcome.script.len()).max().unwrap_or_default();
    outcomes.iter().fold(String::new(), |mut table, outcome| {
        let _ = writeln!(table, "{:width$}  {}", outcome.script, outcome.verdict());
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_of_the_folder_is_run() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../load-tests/k6");
        let files = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
        let mut found: Vec<_> =
            files.filter_map(|name| Some(name.to_str()?.strip_suffix(".js")?.to_owned())).collect();
        found.sort();
        let mut known = SCRIPTS;
        known.sort_unstable();
        assert_eq!(found, known);
    }

    #[test]
    fn scripts_are_named_with_or_without_their_ending() {
        let names = ["api", "soak-test"].map(str::to_owned);
        assert_eq!(chosen(&names).unwrap(), ["api-test", "soak-test"]);
        assert_eq!(chosen(&[]).unwrap(), SCRIPTS);
        let error = chosen(&["ap".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("no load test ap;") && error.contains("api-test"), "{error}");
    }
}
