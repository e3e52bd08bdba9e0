//! `cargo xtask chaos`: a real fleet under steady load, and everything that
//! can be taken from it taken, while an independent record is kept of what
//! clients were told. At the end the record is compared with Postgres.

mod act;
mod backlog;
mod billing;
mod chance;
mod check;
mod clients;
mod clocks;
mod failover;
mod faults;
mod fleet;
mod report;
mod scale;
mod stop;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use self::check::{Facts, check};
use self::clocks::Clocks;
use self::failover::{Failover, FailoverError};
use self::faults::{Choice, Kind, LaneError, Tempo};
use self::fleet::FleetError;
use self::scale::Scale;
pub(crate) use self::scale::Scenario;
use crate::binaries;
use crate::demo::DemoError;
use crate::http::HttpError;
use crate::key_values::FileError;
use crate::provision::{self, ProvisionError};
use crate::psql::PsqlError;
use crate::secrets::Secrets;
use crate::servers::{self, Servers, ServersError};
use crate::session::Session;
use crate::stack::{Providers, StackError, StackPlan};
use crate::state::{Lock, LockError};
use crate::workspace::Profile;
use clap::{Args, ValueEnum};
use regimen_devtools::Interrupted;
use regimen_devtools::process::ProcessError;

/// The folder of a run under `target`: data, logs, the clients' notes, the report.
const FOLDER: &str = "chaos";

/// The seed of the minute that `cargo xtask test` adds.
const REHEARSAL_SEED: u64 = 20_261_128;

/// The minutes of load of the short versions in `cargo xtask test`.
const SHORT: f64 = 0.75;

/// What `cargo xtask chaos` takes.
#[derive(Args)]
pub(crate) struct ChaosArgs {
    /// Minutes of load and faults.
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    minutes: f64,
    /// The seed of faults, requests and histories.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Jobs submitted per second, on average.
    #[arg(long, value_name = "N", default_value_t = 45.0)]
    rate: f64,
    #[command(flatten)]
    choice: Choice,
    /// Let the stores' faults follow each other so closely that a minute has all of them.
    #[arg(long)]
    brisk: bool,
    /// Use binaries compiled without optimisation.
    #[arg(long)]
    dev: bool,
    /// Use the existing binaries.
    #[arg(long, hide = true)]
    no_build: bool,
}

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChaosError {
    /// Another run holds the lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder of the run cannot be written or removed.
    #[error("cannot write or remove {}: {source}", path.display())]
    Folder {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
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
    /// A process of the fleet does not behave as its kind must.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A lane of faults failed.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// The servers of a failover do not start.
    #[error(transparent)]
    Failover(#[from] FailoverError),
    /// The sample quiz cannot be read.
    #[error(transparent)]
    Quiz(#[from] DemoError),
    /// The simulator does not answer.
    #[error(transparent)]
    Simulator(#[from] HttpError),
    /// There is no free port for a proxy in front of a store.
    #[error("cannot open a proxy before a store: {0}")]
    Proxy(#[source] std::io::Error),
    /// There is no free port for the load balancer.
    #[error("cannot open a load balancer before the ingresses: {0}")]
    Balancer(#[source] std::io::Error),
    /// There is no free port for the stand-in of Stripe's API.
    #[error("cannot listen as Stripe's API: {0}")]
    StripeApi(#[source] std::io::Error),
    /// Postgres cannot be read.
    #[error(transparent)]
    Psql(#[from] PsqlError),
    /// A thread of the run panicked.
    #[error("a part of the run broke: {0}")]
    Broke(&'static str),
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Runs the command; fails if a promise is broken.
///
/// # Errors
/// The run has no result.
pub(crate) fn run(session: &Session, args: &ChaosArgs) -> Result<ExitCode, ChaosError> {
    let profile = if args.dev { Profile::Dev } else { Profile::Release };
    if !args.no_build {
        binaries::build(session, profile)?;
    }
    // An hour is the longest useful run, and the tokens expire after it.
    let load = Duration::from_secs_f64(args.minutes.clamp(0.1, 60.0) * 60.0);
    let rate = args.rate.clamp(1.0, 500.0);
    let scale = Scale {
        load,
        settle: Duration::from_secs(120),
        jobs_per_second: rate,
        users: 50 + (rate * 12.0) as usize,
        customers: 24,
        seed: args.seed,
        tempo: if args.brisk { Tempo::Brisk } else { Tempo::Steady },
        choice: args.choice.clone(),
        profile,
        scenario: Scenario::Faults,
    };
    Ok(if put_to_the_test(session, &scale)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the minute that `cargo xtask test` adds: always the same faults, and a load that
/// unoptimised binaries can handle.
///
/// # Errors
/// The run has no result.
pub(crate) fn rehearse(session: &Session) -> Result<bool, ChaosError> {
    let scale = Scale {
        load: Duration::from_secs(60),
        settle: Duration::from_secs(60),
        jobs_per_second: 8.0,
        users: 60,
        customers: 8,
        seed: REHEARSAL_SEED,
        tempo: Tempo::Brisk,
        choice: Choice::default(),
        profile: Profile::Dev,
        scenario: Scenario::Faults,
    };
    put_to_the_test(session, &scale)
}

/// Runs the short versions of the rolling restarts and the failovers, which are suites of
/// `cargo xtask test`.
///
/// # Errors
/// A run has no result.
pub(crate) fn rehearse_restart(session: &Session) -> Result<bool, ChaosError> {
    play(session, Scenario::Restart, SHORT, 1, Profile::Dev)
}

/// See [`rehearse_restart`].
///
/// # Errors
/// A run has no result.
pub(crate) fn rehearse_failovers(session: &Session) -> Result<bool, ChaosError> {
    let mut kept = true;
    for which in Failover::value_variants() {
        kept &= play(session, Scenario::Failover(*which), SHORT, 1, Profile::Dev)?;
    }
    Ok(kept)
}

/// What `cargo xtask restart` takes.
#[derive(Args)]
pub(crate) struct PlayArgs {
    /// Minutes of load.
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    minutes: f64,
    /// The seed of requests and histories.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Use binaries compiled without optimisation.
    #[arg(long)]
    dev: bool,
    /// Use the existing binaries.
    #[arg(long, hide = true)]
    no_build: bool,
}

/// What `cargo xtask failover` takes.
#[derive(Args)]
pub(crate) struct FailoverArgs {
    /// The store.
    store: Failover,
    #[command(flatten)]
    play: PlayArgs,
}

impl FailoverArgs {
    /// Runs the command; fails if a promise is broken.
    ///
    /// # Errors
    /// The run has no result.
    pub(crate) fn run(&self, session: &Session) -> Result<ExitCode, ChaosError> {
        self.play.run(session, Scenario::Failover(self.store))
    }
}

impl PlayArgs {
    /// Runs the rolling restarts; fails if a promise is broken.
    ///
    /// # Errors
    /// The run has no result.
    pub(crate) fn restart(&self, session: &Session) -> Result<ExitCode, ChaosError> {
        self.run(session, Scenario::Restart)
    }

    fn run(&self, session: &Session, scenario: Scenario) -> Result<ExitCode, ChaosError> {
        let profile = if self.dev { Profile::Dev } else { Profile::Release };
        if !self.no_build {
            binaries::build(session, profile)?;
        }
        let kept = play(session, scenario, self.minutes, self.seed, profile)?;
        Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A run of any scenario but the faults, with a load that unoptimised binaries can handle.
///
/// # Errors
/// The run has no result.
pub(crate) fn play(
    session: &Session,
    scenario: Scenario,
    minutes: f64,
    seed: u64,
    profile: Profile,
) -> Result<bool, ChaosError> {
    let scale = Scale {
        load: Duration::from_secs_f64(minutes.clamp(0.5, 60.0) * 60.0),
        settle: Duration::from_secs(120),
        jobs_per_second: 8.0,
        users: 120,
        customers: 12,
        seed,
        tempo: Tempo::Steady,
        choice: Choice::default(),
        profile,
        scenario,
    };
    put_to_the_test(session, &scale)
}

/// One run from empty servers to the report; returns whether every promise was kept.
fn put_to_the_test(session: &Session, scale: &Scale) -> Result<bool, ChaosError> {
    let folder = session.workspace.place(FOLDER);
    let _lock = Lock::take(&folder)?;
    clear(&folder)?;
    let secrets = Secrets::of(&folder)?;
    let programs = provision::programs(session)?;
    let mut servers = Servers::start(session, programs, &folder, secrets.passwords.clone())?;
    let mut settings = scale::WORKER_SETTINGS.to_vec();
    settings.push(("STRIPE_SECRET_KEY", billing::KEY));
    let prices = billing::prices();
    settings.push(("STRIPE_PRICES", &prices));
    let slots = scale.slots();
    settings.push(("WORKER_SLOTS", &slots));
    let mut ingress_settings = scale::INGRESS_SETTINGS.to_vec();
    if scale.scenario.replaces() {
        ingress_settings.extend(scale::LEAVING);
    }
    let plan = StackPlan {
        folder: &folder,
        binaries: &session.workspace.binaries(scale.profile),
        secrets: &secrets,
        workers: scale::WORKERS,
        providers: Providers::Simulator,
        ingress_settings: &ingress_settings,
        worker_settings: &settings,
    };
    let faults = matches!(scale.scenario, Scenario::Faults);
    let library = match faults && scale.choice.has(Kind::Clocks) {
        true => provision::faketime(session)?,
        false => None,
    };
    let clocks = library.as_deref().map(|library| Clocks::draw(scale.seed, library));
    let records = act::perform(session, scale, &plan, &mut servers, clocks.as_ref())?;
    session.say("comparing what clients were told with what Postgres holds");
    let lines = check(&Facts::read(&servers.psql())?, &records);
    let path = folder.join("report.md");
    let failed = |source| ChaosError::Folder { path: path.clone(), source };
    report::publish(&path, &scale.heading(), &lines).map_err(failed)?;
    let kept = report::all_kept(&lines);
    session.say(if kept { "every promise was kept" } else { "promises were broken" });
    Ok(kept)
}

/// Removes everything of earlier runs except the secrets.
fn clear(folder: &Path) -> Result<(), ChaosError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| ChaosError::Folder { path, source }
    };
    servers::remove_data(folder).map_err(failed(folder))?;
    for name in ["logs", "clients", servers::MORE_REDIS] {
        let path = folder.join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(failed(&path))?;
        }
        std::fs::create_dir_all(&path).map_err(failed(&path))?;
    }
    Ok(())
}
