//! The command line: which commands there are, what they take, and the exit
//! code each ends with.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use uuid::Uuid;

use crate::alerts::{self, AlertsArgs, AlertsError};
use crate::bench::{BenchArgs, BenchError};
use crate::chaos::{self, ChaosArgs, ChaosError, FailoverArgs, PlayArgs};
use crate::clock;
use crate::down::{self, DownError};
use crate::figures::{self, FiguresError};
use crate::key_values::FileError;
use crate::load::{self, LoadArgs, LoadError};
use crate::migrate::{self, MigrateError};
use crate::secrets::Secrets;
use crate::session::{Session, SessionError};
use crate::state::DEV_FOLDER;
use crate::test::{self, TestArgs, TestError};
use crate::token::Claims;
use crate::up::{self, UpArgs, UpError};
use crate::upgrade::{self, UpgradeArgs, UpgradeError};

/// Developer commands of Regimen.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything on this machine and turn the sample quiz into a meal plan and a
    /// workout plan.
    ///
    /// Finds PostgreSQL (15 or newer) and Redis (7 or newer), or installs them with apt-get or
    /// Homebrew; starts private instances with their data in target/dev; compiles; migrates; starts
    /// the AI simulator (unless OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY is set), the
    /// ingress and a worker; submits the sample quiz and prints both plans. Then everything runs
    /// until Ctrl-C. The data is kept for the next time.
    Up(UpArgs),
    /// End a stack that `up --detach` left running or that another terminal runs.
    Down(DownArgs),
    /// Run all tests of the workspace against a private PostgreSQL and Redis, then a
    /// minute of chaos; with a filter, packages or a suite, only those tests.
    ///
    /// A suite in another language is skipped if its language is missing; in CI (CI=true)
    /// that is a failure.
    Test(TestArgs),
    /// Migrate the database of DATABASE_URL, or of the running stack, to the current
    /// schema.
    Migrate,
    /// Print access tokens that the ingress of `up` accepts.
    Token(TokenArgs),
    /// Print how well unusual replies and answers are read: provider calls per plan,
    /// measures, diets and allergies, from the tests that hold these figures.
    Figures,
    /// Measure an optimised build: everything, or what is named.
    ///
    /// Without a further word it measures everything in turn with the floors (pgbench, Redis, bare
    /// axum) and the peers of load-tests/peers, keeps the raw figures in target/bench/results.json
    /// and writes docs/performance.md with its charts. Everything runs on free ports of this
    /// machine and is ended.
    Bench(BenchArgs),
    /// Put load on the API with k6 and check the thresholds of load-tests/k6.
    ///
    /// Without --api-url it starts its own stack on free ports of this machine, with the
    /// AI simulator as the provider, and leaves nothing running. The summaries, as JSON
    /// and HTML, go to target/load/summaries; the exit code says whether all thresholds
    /// held.
    Load(LoadArgs),
    /// Put load and faults on a fleet, and check that nothing is lost or done twice.
    ///
    /// Kills, ends and freezes workers and ingresses, makes both stores crash, stall and
    /// refuse, makes Redis lose its data and change its role, and sets clocks wrong, by a
    /// seeded schedule, while 30 % of the calls to the simulated providers fail. Then
    /// compares the clients' records with PostgreSQL. The report goes to
    /// target/chaos/report.md; the exit code says whether every promise was kept.
    Chaos(ChaosArgs),
    /// Replace an older release by this one and back again, process by process and under load, and
    /// check that nothing is lost or done twice.
    ///
    /// Compiles the older one in target/previous, which takes minutes the first time. The fleet
    /// starts with it on its own schema; then this release migrates, and both work side by side.
    /// The report goes to target/chaos/report.md.
    Upgrade(UpgradeArgs),
    /// Replace every process again and again under load, the new one first, and check that no
    /// request is refused and that no stream misses an event.
    ///
    /// A load balancer that asks /readyz stands in front of the ingresses. The report goes to
    /// target/chaos/report.md.
    Restart(PlayArgs),
    /// End the primary of a store under load, again and again, and check that its replica takes
    /// over and that nothing is lost or done twice.
    ///
    /// The stores are real: a Redis Cluster, a Redis behind sentinels, or a PostgreSQL with a
    /// streaming replica, started on free ports of this machine. The report goes to
    /// target/chaos/report.md.
    Failover(FailoverArgs),
    /// Play the faults that the alerts of deploy/monitoring are about, against a real Prometheus
    /// and Alertmanager.
    ///
    /// Each alert has to fire, to arrive behind Alertmanager, and to end once the fault is mended.
    /// The rules are those of the repository, with shorter windows. Everything runs on free ports
    /// of this machine and is ended; the exit code says whether no alert was missed.
    Alerts(AlertsArgs),
}

/// The arguments of `cargo xtask down`.
#[derive(Args)]
pub(crate) struct DownArgs {
    /// Another folder than target/dev.
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
}

/// The arguments of `cargo xtask token`.
#[derive(Args)]
pub(crate) struct TokenArgs {
    /// The user; prints the token alone.
    #[arg(long, value_name = "UUID", required_unless_present = "random")]
    user: Option<Uuid>,
    /// Tokens of N new users; prints a line with the user and the token for each.
    #[arg(long, value_name = "N", conflicts_with = "user")]
    random: Option<u32>,
    /// The role in app_metadata; `admin` gives access to the admin routes.
    #[arg(long)]
    role: Option<String>,
    /// The lifetime in hours.
    #[arg(long, default_value_t = 12)]
    hours: u32,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Up(#[from] UpError),
    #[error(transparent)]
    Down(#[from] DownError),
    #[error(transparent)]
    Test(#[from] TestError),
    #[error(transparent)]
    Figures(#[from] FiguresError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error(transparent)]
    Secrets(#[from] FileError),
    #[error(transparent)]
    Bench(#[from] BenchError),
    #[error(transparent)]
    Chaos(#[from] ChaosError),
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    #[error(transparent)]
    Alerts(#[from] AlertsError),
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Cli {
    /// Runs the command; if it failed, prints why on stderr.
    pub(crate) fn run(self) -> ExitCode {
        self.command.run().unwrap_or_else(|error| {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        })
    }
}

impl Command {
    fn run(self) -> Result<ExitCode, CommandError> {
        let session = Session::open()?;
        let dev = session.workspace.place(DEV_FOLDER);
        Ok(match self {
            Self::Up(args) => up::run(&session, &args)?,
            Self::Down(args) => down::run(&session, &args.folder.unwrap_or(dev))?,
            Self::Test(args) => test::run(&session, &args)?,
            Self::Migrate => migrate::run(&session)?,
            Self::Token(args) => args.print(&Secrets::of(&dev)?),
            Self::Figures => figures::run(&session)?,
            Self::Bench(bench) => bench.run(&session)?,
            Self::Chaos(args) => chaos::run(&session, &args)?,
            Self::Upgrade(args) => upgrade::run(&session, &args)?,
            Self::Restart(args) => args.restart(&session)?,
            Self::Failover(args) => args.run(&session)?,
            Self::Alerts(args) => alerts::run(&session, &args)?,
            Self::Load(args) => load::run(&session, &args)?,
        })
    }
}

impl TokenArgs {
    fn print(&self, secrets: &Secrets) -> ExitCode {
        let given = std::env::var("JWT_SECRET").ok().filter(|secret| !secret.is_empty());
        let secret = given.as_deref().unwrap_or(&secrets.jwt);
        let (issued_at, life) = (clock::seconds_since_1970(), u64::from(self.hours) * 3600);
        let sign = |user| Claims { user, role: self.role.as_deref(), issued_at, life }.sign(secret);
        let mut out = std::io::stdout().lock();
        let mut lines: Box<dyn Iterator<Item = String>> = match (self.user, self.random) {
            (Some(user), _) => Box::new(std::iter::once(sign(user))),
            (None, count) => Box::new((0..count.unwrap_or(0)).map(|_| {
                let user = Uuid::new_v4();
                format!("{user} {}", sign(user))
            })),
        };
        // Fails only if the reader has closed the pipe.
        let _ = lines.try_for_each(|line| writeln!(out, "{line}"));
        ExitCode::SUCCESS
    }
}
