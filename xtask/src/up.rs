//! `cargo xtask up`: starts everything, shows two plans, and keeps the stack
//! running until Ctrl-C.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use uuid::Uuid;

use crate::binaries;
use crate::clock;
use crate::demo::{self, DemoError};
use crate::http::Client;
use crate::key_values::{self, FileError};
use crate::provision::{self, ProvisionError};
use crate::secrets::Secrets;
use crate::servers::{Servers, ServersError};
use crate::session::Session;
use crate::stack::{Providers, Stack, StackError, StackPlan};
use crate::state::{DEV_FOLDER, Lock, LockError, env_file};
use crate::token::Claims;
use crate::workspace::Profile;
use regimen_devtools::Interrupted;
use regimen_devtools::process::ProcessError;

/// What `cargo xtask up` takes.
#[derive(Args)]
pub(crate) struct UpArgs {
    /// End everything after the plans; the exit code says whether there were any.
    #[arg(long, conflicts_with = "detach")]
    pub(crate) once: bool,
    /// How many workers to start.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) workers: usize,
    /// Leave everything running; addresses and process ids are in target/dev/env.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Compile with optimisation: slower to start at first, faster to run.
    #[arg(long)]
    pub(crate) release: bool,
    /// Use the existing binaries.
    #[arg(long, hide = true)]
    pub(crate) no_build: bool,
    /// Another folder than target/dev.
    #[arg(long, hide = true)]
    pub(crate) folder: Option<PathBuf>,
}

/// Where a stack's files are, and its programs.
struct Folders<'a> {
    files: &'a Path,
    binaries: &'a Path,
}

/// The lifetime of the demo user's access token, seconds.
const TOKEN_LIFE: u64 = 12 * 3600;

/// Why there is no stack, or no plans.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpError {
    /// Another stack is running.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// PostgreSQL or Redis is missing.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// PostgreSQL or Redis does not start.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// The code does not compile.
    #[error(transparent)]
    Build(#[from] ProcessError),
    /// A process of ours does not start.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// A file of the stack cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The demonstration failed.
    #[error("{source}\nThe logs are in {}", logs.display())]
    Demo {
        /// The error.
        source: DemoError,
        /// The folder of the logs.
        logs: PathBuf,
    },
    /// The program was interrupted before everything was up.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Runs the command.
///
/// # Errors
/// See [`UpError`]; nothing is left running.
pub(crate) fn run(session: &Session, args: &UpArgs) -> Result<ExitCode, UpError> {
    let folder = args.folder.clone().unwrap_or_else(|| session.workspace.place(DEV_FOLDER));
    let _lock = Lock::take(&folder)?;
    let secrets = Secrets::of(&folder)?;
    let programs = provision::programs(session)?;
    let profile = if args.release { Profile::Release } else { Profile::Dev };
    if !args.no_build {
        binaries::build(session, profile)?;
    }
    let servers = Servers::start(session, programs, &folder, secrets.passwords.clone())?;
    let plan = StackPlan {
        folder: &folder,
        binaries: &session.workspace.binaries(profile),
        secrets: &secrets,
        workers: args.workers,
        providers: Providers::OfEnvironment,
        ingress_settings: &[],
        worker_settings: &[],
    };
    let stack = plan.start(session, servers)?;
    stack.write_env(&folder)?;
    session.say(format_args!("try it in a browser: {}/try", stack.ingress_url()?));
    let binaries = session.workspace.binaries(profile);
    let outcome =
        show(session, args, stack, &secrets, &Folders { files: &folder, binaries: &binaries });
    if !(args.detach && outcome.is_ok()) {
        key_values::remove(&env_file(&folder))?;
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Runs the demonstration, then keeps the stack running as long as requested.
fn show(
    session: &Session,
    args: &UpArgs,
    stack: Stack,
    secrets: &Secrets,
    folders: &Folders<'_>,
) -> Result<(), UpError> {
    let url = stack.ingress_url()?;
    let user = Uuid::new_v4();
    let claims =
        Claims { user, role: None, issued_at: clock::seconds_since_1970(), life: TOKEN_LIFE };
    let client = Client::new(&url, &claims.sign(&secrets.jwt));
    match demo::run(session, &client) {
        Err(DemoError::Interrupted(interrupted)) => return Err(interrupted.into()),
        Err(source) => return Err(UpError::Demo { source, logs: folders.files.join("logs") }),
        Ok(()) => {}
    }
    if args.once {
        session.say("done; ending everything");
        return Ok(());
    }
    let guide = guide(session, &stack, user, folders)?;
    let _ = std::io::stdout().write_all(guide.as_bytes());
    if args.detach {
        session.say("everything stays up; `cargo xtask down` ends it");
        stack.detach();
    } else {
        session.say("everything is up; Ctrl-C ends it");
        watch(session, stack);
        session.say("everything has ended");
    }
    Ok(())
}

/// Keeps the stack running until Ctrl-C. If a process is killed, that is only reported:
/// the stack is also there to show how the others react.
fn watch(session: &Session, mut stack: Stack) {
    while session.pause().is_ok() {
        for ended in stack.ended() {
            session.say(ended);
        }
    }
    session.say("ending everything");
}

/// The next steps.
fn guide(
    session: &Session,
    stack: &Stack,
    user: Uuid,
    folders: &Folders<'_>,
) -> Result<String, StackError> {
    let (url, metrics) = (stack.ingress_url()?, stack.metrics_url()?);
    let link = stack.console_link(folders.binaries, "admin")?;
    let env = env_file(folders.files);
    let env = session.workspace.show(&env);
    let binaries = session.workspace.show(folders.binaries);
    let logs = folders.files.join("logs");
    let logs = session.workspace.show(&logs);
    Ok(format!(
        "\
Try it    {url}/try
Console   {link}
          (signs in once, within ten minutes; the last line makes another)
API       {url}          documentation {url}/docs
Metrics   {metrics}/metrics
Settings  {env} (addresses, secrets and process ids)
Logs      {logs}

Try it:
  TOKEN=$(cargo xtask token --user {user})
  curl -s {url}/v1/plans/meal/active -H \"authorization: Bearer $TOKEN\"
  curl -s {url}/v1/plans -H \"authorization: Bearer $TOKEN\" -H 'content-type: application/json' \\
       -H 'prefer: wait=60' \\
       -d \"{{\\\"kinds\\\":[\\\"meal\\\"],\\\"answers\\\":$(cat {quiz})}}\"
  . {env}; DATABASE_URL=$DATABASE_URL {binaries}/regimen-ingress console-link --url {url}

",
        quiz = demo::SAMPLE_QUIZ
    ))
}
