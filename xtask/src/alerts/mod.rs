//! `cargo xtask alerts`: causes the faults that the alerts of
//! `deploy/monitoring` are for. The real binaries run on private stores; a real
//! Prometheus and Alertmanager watch them with the repository's rules; each
//! alert must fire, be delivered by Alertmanager, and resolve after the fault
//! is repaired.

mod listener;
mod rig;
mod scaled;
mod scenes;
mod watch;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use regimen_devtools::Interrupted;
use regimen_devtools::process::ProcessError;

use self::rig::Rig;
use self::scenes::{SCENES, Scene};
use self::watch::{Seen, Tools, Watch};
use crate::binaries;
use crate::demo::DemoError;
use crate::http::HttpError;
use crate::key_values::FileError;
use crate::provision::{self, MonitoringError, ProvisionError};
use crate::psql::PsqlError;
use crate::resp::RespError;
use crate::secrets::Secrets;
use crate::servers::{self, Servers, ServersError};
use crate::session::Session;
use crate::stack::StackError;
use crate::state::{Lock, LockError};
use crate::workspace::Profile;

/// The folder of a run under `target`.
const FOLDER: &str = "alerts";

/// The time limit for a scene's alerts to be delivered, and then to resolve.
const ACT_WITHIN: Duration = Duration::from_secs(180);

/// The time limit for the alerts with the longest windows to resolve, after all scenes.
const END_WITHIN: Duration = Duration::from_secs(600);

/// Fires for as long as Prometheus runs.
const UNENDING: &str = "Watchdog";

/// How often a scene's alerts are polled and its `meanwhile` runs.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What `cargo xtask alerts` takes.
#[derive(Args)]
pub(crate) struct AlertsArgs {
    /// Only these scenes, such as `key-refused`.
    #[arg(value_name = "SCENE")]
    scenes: Vec<String>,
    /// The divisor of the rules' windows and waiting times; nothing else of them is
    /// changed.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=120))]
    factor: u32,
    /// Compile with optimisation.
    #[arg(long)]
    release: bool,
    /// Use the existing binaries.
    #[arg(long, hide = true)]
    no_build: bool,
}

/// Why the run failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AlertsError {
    /// There is no such scene.
    #[error("there is no scene {0}; there are: {1}")]
    Unknown(String, String),
    /// Another run holds the lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// PostgreSQL or Redis is missing.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// Prometheus or Alertmanager is missing.
    #[error(transparent)]
    Monitoring(#[from] MonitoringError),
    /// PostgreSQL or Redis does not start.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// A process of ours does not start.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The code does not compile, or a program cannot be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The sample quiz cannot be read.
    #[error(transparent)]
    Quiz(#[from] DemoError),
    /// A required request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// PostgreSQL refuses a command of a fault.
    #[error(transparent)]
    Psql(#[from] PsqlError),
    /// Redis refuses a command of a fault.
    #[error(transparent)]
    Redis(#[from] RespError),
    /// There is no free port.
    #[error("cannot find a free port on 127.0.0.1: {0}")]
    Port(#[source] std::io::Error),
    /// A folder of the run cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Folder {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A fault has no effect.
    #[error("the fault cannot be made: {0}")]
    Harmless(&'static str),
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What was seen of an alert.
struct Outcome {
    alert: &'static str,
    scene: &'static str,
    seen: Seen,
}

impl Outcome {
    /// Whether the alert fired, was delivered and resolved.
    fn is_whole(&self) -> bool {
        self.seen.has_arrived() && (self.seen.has_ended() || self.alert == UNENDING)
    }
}

/// Runs the command; fails if an alert did not fire, was not delivered or did not
/// resolve.
///
/// # Errors
/// The run failed.
pub(crate) fn run(session: &Session, args: &AlertsArgs) -> Result<ExitCode, AlertsError> {
    let scenes = chosen(&args.scenes)?;
    let folder = session.workspace.place(FOLDER);
    let _lock = Lock::take(&folder)?;
    let programs = provision::programs(session)?;
    let monitoring = provision::monitoring(session)?;
    let alertmanager = provision::alertmanager(session)?;
    let profile = if args.release { Profile::Release } else { Profile::Dev };
    if !args.no_build {
        binaries::build(session, profile)?;
    }
    clear(&folder)?;
    let secrets = Secrets::of(&folder)?;
    let servers = Servers::start(session, programs, &folder, secrets.passwords.clone())?;
    let binaries = session.workspace.binaries(profile);
    let mut rig = Rig::start(session, &folder, &binaries, &secrets, &servers)?;
    let tools = Tools { prometheus: monitoring.prometheus, alertmanager };
    let watch = Watch::start(session, &tools, &folder, &rig.targets(), args.factor)?;
    let mut play = Play { session, watch: &watch, outcomes: Vec::new() };
    for scene in scenes {
        play.perform(&mut rig, scene)?;
    }
    play.await_ends(Instant::now() + END_WITHIN, |outcome| outcome.alert != UNENDING)?;
    let outcomes = play.outcomes;
    let _ = std::io::stdout().write_all(table(&outcomes, args.factor).as_bytes());
    let all = outcomes.iter().all(Outcome::is_whole);
    session.say(if all { "every alert fired, arrived and ended" } else { "alerts are missing" });
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A running play.
struct Play<'a> {
    session: &'a Session,
    watch: &'a Watch,
    outcomes: Vec<Outcome>,
}

impl Play<'_> {
    /// Causes the fault, waits for its alerts, repairs it, and waits until they resolve.
    fn perform(&mut self, rig: &mut Rig<'_>, scene: &'static Scene) -> Result<(), AlertsError> {
        self.session.say(format_args!("{}: {}", scene.name, scene.fault));
        let first = self.outcomes.len();
        let new =
            |alert: &&'static str| Outcome { alert, scene: scene.name, seen: Seen::from_now() };
        self.outcomes.extend(scene.alerts.iter().map(new));
        (scene.make)(rig)?;
        let until = Instant::now() + ACT_WITHIN;
        while !self.outcomes.iter().skip(first).all(|outcome| outcome.seen.has_arrived())
            && Instant::now() < until
        {
            (scene.meanwhile)(rig)?;
            self.look(|seen, alert, watch| seen.look_for_fire(watch, alert))?;
        }
        (scene.mend)(rig)?;
        let mended = Instant::now();
        for outcome in self.outcomes.iter_mut().skip(first) {
            outcome.seen.mended = Some(mended);
            self.session.say(format_args!("  {}: {}", outcome.alert, outcome.seen.fire()));
        }
        self.await_ends(mended + ACT_WITHIN, |outcome| {
            outcome.scene == scene.name && !scene.ends_late.contains(&outcome.alert)
        })
    }

    /// Waits until the alerts that `counts` selects have resolved, or the time is up.
    fn await_ends(
        &mut self,
        until: Instant,
        counts: impl Fn(&Outcome) -> bool,
    ) -> Result<(), AlertsError> {
        loop {
            self.look(|seen, alert, watch| seen.look_for_end(watch, alert))?;
            let over = |outcome: &Outcome| {
                !counts(outcome) || !outcome.seen.has_arrived() || outcome.seen.has_ended()
            };
            if self.outcomes.iter().all(over) || Instant::now() > until {
                return Ok(());
            }
        }
    }

    fn look(&mut self, look: impl Fn(&mut Seen, &str, &Watch)) -> Result<(), AlertsError> {
        let next = Instant::now() + LOOK_EVERY;
        for outcome in &mut self.outcomes {
            look(&mut outcome.seen, outcome.alert, self.watch);
        }
        while Instant::now() < next {
            self.session.pause()?;
        }
        Ok(())
    }
}

/// The named scenes; all if none is named.
fn chosen(names: &[String]) -> Result<Vec<&'static Scene>, AlertsError> {
    if names.is_empty() {
        return Ok(SCENES.iter().collect());
    }
    let find = |name: &String| {
        SCENES.iter().find(|scene| scene.name == name).ok_or_else(|| {
            let known: Vec<_> = SCENES.iter().map(|scene| scene.name).collect();
            AlertsError::Unknown(name.clone(), known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// Removes everything of earlier runs except the secrets.
fn clear(folder: &std::path::Path) -> Result<(), AlertsError> {
    let failed = |source| AlertsError::Folder { path: folder.to_owned(), source };
    servers::remove_data(folder).map_err(failed)?;
    for name in ["logs", "monitoring"] {
        match std::fs::remove_dir_all(folder.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// One line per alert.
fn table(outcomes: &[Outcome], factor: u32) -> String {
    let mut table = format!(
        "\nWindows and waiting times of the rules divided by {factor}. Seconds after the fault \
         was made, and after it was mended.\n\n{:24} {:18} {:>8} {:>9} {:>9}\n",
        "alert", "scene", "fired", "arrived", "ended"
    );
    for Outcome { alert, scene, seen } in outcomes {
        let [fired, arrived, ended] = seen.times().map(|time| match time {
            Some(time) => format!("{:.1}", time.as_secs_f64()),
            None => "never".to_owned(),
        });
        let _ = writeln!(table, "{alert:24} {scene:18} {fired:>8} {arrived:>9} {ended:>9}");
    }
    let unplayed: Vec<_> =
        scenes::NOT_PLAYED.iter().map(|(alert, why)| format!("{alert} ({why})")).collect();
    let _ = writeln!(table, "\nNot played: {}", unplayed.join(", "));
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_alert_is_played_or_named_as_not_played() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring");
        let mut alerts = BTreeSet::new();
        for file in ["rules/alerts.yml", "rules/slo.yml"] {
            let text = std::fs::read_to_string(root.join(file)).unwrap();
            let names = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
            alerts.extend(names.map(str::to_owned));
        }
        let played = SCENES.iter().flat_map(|scene| scene.alerts).map(|name| (*name).to_owned());
        let left_out = scenes::NOT_PLAYED.iter().map(|(name, _)| (*name).to_owned());
        assert_eq!(played.chain(left_out).collect::<BTreeSet<_>>(), alerts);
        let names: BTreeSet<_> = SCENES.iter().map(|scene| scene.name).collect();
        assert_eq!(names.len(), SCENES.len(), "two scenes have one name");
    }

    #[test]
    fn scenes_are_found_by_name() {
        assert_eq!(chosen(&[]).unwrap().len(), SCENES.len());
        assert_eq!(chosen(&["redis-away".to_owned()]).unwrap().len(), 1);
        let error = chosen(&["fire".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("no scene fire") && error.contains("redis-away"), "{error}");
    }
}
