//! How large and how long a run is, and the settings of its processes: the
//! promised lease and pace, but waits short enough that jobs end in time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::failover::Failover;
use super::faults::{Choice, Tempo};
use crate::clock;
use crate::workspace::Profile;

/// The size of a run.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    /// The length of load and faults.
    pub(crate) load: Duration,
    /// How long the fleet may take to settle after that.
    pub(crate) settle: Duration,
    /// Jobs submitted per second, on average.
    pub(crate) jobs_per_second: f64,
    /// Users who request plans.
    pub(crate) users: usize,
    /// Stripe's customers, whose subscriptions have histories.
    pub(crate) customers: usize,
    /// The seed of everything random.
    pub(crate) seed: u64,
    /// How closely the stores' faults follow each other.
    pub(crate) tempo: Tempo,
    /// The kinds of faults.
    pub(crate) choice: Choice,
    /// Which binaries run.
    pub(crate) profile: Profile,
    /// What happens during the load.
    pub(crate) scenario: Scenario,
}

/// What happens during the load.
#[derive(Debug, Clone)]
pub(crate) enum Scenario {
    /// Faults of processes and stores, in turn.
    Faults,
    /// The processes are replaced by those of an older release, and those by these; the
    /// older binaries are in this folder.
    Upgrade(PathBuf),
    /// The processes are replaced by others of the same release.
    Restart,
    /// A store fails over to its replica.
    Failover(Failover),
}

impl Scenario {
    /// For the report.
    fn told(&self) -> &'static str {
        match self {
            Self::Faults => "faults",
            Self::Upgrade(_) => "a release that is rolled out and back",
            Self::Restart => "rolling restarts",
            Self::Failover(which) => which.told(),
        }
    }

    /// Whether processes are replaced, with a load balancer in front of the ingresses.
    pub(super) fn replaces(&self) -> bool {
        matches!(self, Self::Upgrade(_) | Self::Restart)
    }

    /// The binaries that the fleet begins with; those of this release unless set.
    pub(super) fn first_release(&self) -> Option<&Path> {
        match self {
            Self::Upgrade(older) => Some(older),
            _ => None,
        }
    }
}

impl Scale {
    /// Clients that request plans. Fewer where connections are to be used again: each then
    /// sends its next request before its connection has been idle for long.
    pub(super) fn asking(&self) -> usize {
        if self.scenario.replaces() { 8 } else { 24 }
    }

    /// The slots of a worker. The fleet has four times what the load needs, so that half
    /// of it can handle the load, and not more, so that jobs queue after a fault and
    /// their ids are in Redis.
    pub(super) fn slots(&self) -> String {
        let needed = self.jobs_per_second * SECONDS_PER_JOB / WORKERS as f64;
        ((4.0 * needed).ceil() as usize).max(2).to_string()
    }

    /// The run in one sentence.
    pub(super) fn heading(&self) -> String {
        let profile = match self.profile {
            Profile::Dev => "an unoptimised",
            Profile::Release | Profile::Dist => "an optimised",
        };
        let what = self.scenario.told();
        let choice = self.choice.told().map(|told| format!(" ({told})")).unwrap_or_default();
        format!(
            "{:.0} s of load and {what}{choice}, seed {}, {INGRESSES} ingresses and {WORKERS} workers of \
             {profile} build, {} users, 30 % of provider calls failing; {}.",
            self.load.as_secs_f64(),
            self.seed,
            self.users,
            clock::http_date()
        )
    }
}

/// The number of ingresses.
pub(super) const INGRESSES: usize = 2;
/// The number of workers.
pub(super) const WORKERS: usize = 4;
/// The promised time from a crash to the next run of its jobs.
pub(super) const PROMISE: Duration = Duration::from_secs(15);

/// How long a job holds its slot, including failed calls and waits.
const SECONDS_PER_JOB: f64 = 1.6;

/// The average plans per request: one kind as often as both.
pub(super) const JOBS_PER_REQUEST: f64 = 1.5;

/// Additional settings: no limits that would refuse the load.
pub(super) const INGRESS_SETTINGS: [(&str, &str); 7] = [
    ("FLOOD_PER_SECOND", "0"),
    ("RATE_GENERATE_PLANS", "1000000/h"),
    ("RATE_DAILY", "1000000/d"),
    ("MONTHLY_QUOTA", "false"),
    ("STREAMS_PER_USER", "1000"),
    ("SHUTDOWN_GRACE_SECONDS", "3"),
    ("LOG_FORMAT", "json"),
];

/// How long an ingress that is replaced goes on accepting: ten times what the balancer takes
/// at most to notice that it is not ready, on a machine that is not busy. And how long it
/// then serves the connections it has: longer than clients keep theirs idle.
pub(super) const LEAVING: [(&str, &str); 2] =
    [("SHUTDOWN_DELAY_SECONDS", "2"), ("SHUTDOWN_GRACE_SECONDS", "4")];

/// How long clients keep idle connections.
pub(super) const IDLE: Duration = Duration::from_millis(3_500);

/// The lease, the reconciler and the cap have their defaults. The provider's silence, the
/// fallback's waits, the retry rounds and the drain are shorter.
pub(super) const WORKER_SETTINGS: [(&str, &str); 13] = [
    ("LEASE_SECONDS", "10"),
    ("RECONCILE_SECONDS", "1"),
    ("PER_USER_RUNNING", "2"),
    ("DRAIN_SECONDS", "3"),
    ("JOB_DEADLINE_SECONDS", "60"),
    ("RETRY_ROUNDS_SECONDS", "1,2,4"),
    ("PROVIDER_BACKOFF_SECONDS", "0.2"),
    ("PROVIDER_BACKOFF_CAP_SECONDS", "1"),
    ("PROVIDER_FIRST_BYTE_SECONDS", "2"),
    ("PROVIDER_STALL_SECONDS", "2"),
    ("PROVIDER_BREAKER_SECONDS", "2"),
    ("BACKFILL_HOURS", "0"),
    ("LOG_FORMAT", "json"),
];

/// The providers' behaviour during faults: a second per answer, and 30 of 100 calls fail.
pub(super) fn bad_weather(seed: u64) -> Value {
    let limited = json!({"do": "status", "status": 429, "retry_after": "1", "retry_after_ms": 250});
    json!({
        "latency": {"uniform_ms": [300, 1500]},
        "mix": {"percent": 30, "seed": seed, "kinds": [
            {"weight": 1, "action": limited}, "500", "529", "hang", "cut", "truncated", "invalid_json",
        ]},
    })
}

/// Their behaviour afterwards.
pub(super) fn fair_weather() -> Value {
    json!({"latency": {"fixed_ms": 50}, "mix": {"percent": 0}})
}
