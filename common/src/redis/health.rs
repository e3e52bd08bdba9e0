//! Whether Redis is available: it is while it accepts a small write.
//!
//! A server that answers may still be full, unable to save, a replica, loading
//! or refusing our credentials. Then pops of empty lists succeed while pushes
//! fail, and jobs would wait unnoticed. So all users of Redis share one
//! definition of availability, tested by writing a key that expires soon.

use std::time::Duration;

use redis::ErrorKind;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::{Redis, RedisError};

/// Between two tests while Redis is available.
const EVERY: Duration = Duration::from_secs(1);
/// Between two tests while it is away.
const EVERY_WHILE_AWAY: Duration = Duration::from_millis(500);
/// Between two requested tests.
const PAUSE: Duration = Duration::from_millis(100);
/// The time limit of a test.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Lifetime of the written key, milliseconds.
const KEPT_MILLIS: u64 = 10_000;

/// Why Redis counts as away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// No connection can be made.
    Unreachable,
    /// It does not answer.
    Silent,
    /// OOM: it is full and may not evict.
    Full,
    /// MISCONF: it cannot save to its disk.
    CannotSave,
    /// READONLY: it is a replica.
    ReadOnly,
    /// NOREPLICAS: too few replicas are connected.
    FewReplicas,
    /// LOADING: it is loading its data after a start.
    Loading,
    /// NOAUTH, WRONGPASS, NOPERM: it refuses our credentials.
    NoAccess,
    /// CLUSTERDOWN: a part of the cluster is missing.
    ClusterDown,
    /// It refuses writes for another reason.
    Refuses,
}

impl Trouble {
    pub(super) fn of(error: &redis::RedisError) -> Self {
        match error.code() {
            Some("OOM") => return Self::Full,
            Some("MISCONF") => return Self::CannotSave,
            Some("READONLY") => return Self::ReadOnly,
            Some("NOREPLICAS") => return Self::FewReplicas,
            Some("LOADING") => return Self::Loading,
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => return Self::NoAccess,
            Some("CLUSTERDOWN" | "MASTERDOWN") => return Self::ClusterDown,
            _ => {}
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::NoAccess,
            ErrorKind::Io if error.is_timeout() => Self::Silent,
            ErrorKind::Io
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::ClusterConnectionNotFound => Self::Unreachable,
            _ => Self::Refuses,
        }
    }

    /// Every trouble.
    const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::Silent,
        Self::Full,
        Self::CannotSave,
        Self::ReadOnly,
        Self::FewReplicas,
        Self::Loading,
        Self::NoAccess,
        Self::ClusterDown,
        Self::Refuses,
    ];

    /// Its name in metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Full => "full",
            Self::CannotSave => "cannot_save",
            Self::ReadOnly => "read_only",
            Self::FewReplicas => "few_replicas",
            Self::Loading => "loading",
            Self::NoAccess => "no_access",
            Self::ClusterDown => "cluster_down",
            Self::Refuses => "refuses",
        }
    }

    /// What happened and what to do, for operators.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "Redis cannot be reached; look whether it runs where REDIS_URL says"
            }
            Self::Silent => {
                "Redis does not answer; look whether it hangs or the network drops connections"
            }
            Self::Full => {
                "Redis is full and refuses writes (OOM); raise its maxmemory or remove what else \
                 is kept there"
            }
            Self::CannotSave => {
                "Redis cannot save its data and refuses writes (MISCONF); look at its log and its \
                 disk"
            }
            Self::ReadOnly => {
                "Redis is a read-only replica (READONLY); make REDIS_URL name the primary, or wait \
                 for the failover to end"
            }
            Self::FewReplicas => {
                "Redis misses replicas and refuses writes (NOREPLICAS); bring them back or lower \
                 its min-replicas-to-write"
            }
            Self::Loading => "Redis is loading its data after a start (LOADING); it ends by itself",
            Self::NoAccess => {
                "Redis refuses us access (NOAUTH, WRONGPASS or NOPERM); check user and password in \
                 REDIS_URL and that the user may write keys under REDIS_PREFIX"
            }
            Self::ClusterDown => {
                "the Redis cluster misses a master (CLUSTERDOWN); bring its slots back"
            }
            Self::Refuses => "Redis refuses a tiny write; its answer stands in our log",
        }
    }

    /// No command gets through, not even a read.
    pub fn is_silence(self) -> bool {
        matches!(self, Self::Unreachable | Self::Silent)
    }

    /// Whether it may be temporary.
    fn passes(self) -> bool {
        self.is_silence() || self == Self::Loading
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// This process's view of Redis.
#[derive(Debug, Default)]
pub(super) struct Health {
    trouble: watch::Sender<Option<Trouble>>,
    doubted: Notify,
}

impl Health {
    pub(super) fn trouble(&self) -> Option<Trouble> {
        *self.trouble.borrow()
    }

    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Records the result of a test. `why` is the error behind it.
    fn found(&self, trouble: Option<Trouble>, why: Option<&RedisError>) {
        metrics::gauge!("regimen_redis_away").set(f64::from(trouble.is_some()));
        for other in Trouble::ALL {
            metrics::gauge!("regimen_redis_trouble", "trouble" => other.name())
                .set(f64::from(trouble == Some(other)));
        }
        if self.trouble.send_replace(trouble) == trouble {
            return;
        }
        let why = why.map(tracing::field::display);
        match trouble {
            None => tracing::info!("Redis is back; jobs and limits go through it again"),
            Some(trouble) if trouble.passes() => {
                tracing::warn!(why, "Redis is away: {trouble}; working without it");
            }
            Some(trouble) => {
                tracing::error!(why, "Redis is away: {trouble}; working without it");
            }
        }
    }
}

/// Tests the availability of Redis for the life of the process. Until the first test it
/// counts as available.
pub async fn watch(redis: Redis) {
    let key = redis.key("proof");
    let mut write = redis::cmd("SET");
    write.arg(key).arg(1).arg("PX").arg(KEPT_MILLIS);
    loop {
        let mut proof = prove(&redis, &write).await;
        if proof.is_err() {
            // Often only the connection is bad, and a new one reaches a working server.
            proof = prove(&redis, &write).await;
        }
        let trouble = proof.as_ref().err().map(RedisError::trouble);
        redis.health().found(trouble, proof.as_ref().err());
        let pause = if trouble.is_some() { EVERY_WHILE_AWAY } else { EVERY };
        sleep(PAUSE).await;
        let _ = timeout(pause - PAUSE, redis.health().doubted.notified()).await;
    }
}

async fn prove(redis: &Redis, write: &redis::Cmd) -> Result<(), RedisError> {
    match timeout(PATIENCE, redis.query::<()>(write)).await {
        Ok(proof) => proof,
        Err(_) => {
            redis.give_up_connection();
            Err(RedisError::Away(Trouble::Silent))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::metrics::COMMON;

    use super::*;

    #[test]
    fn the_metric_knows_every_trouble() {
        let metric = COMMON.iter().find(|metric| metric.name == "regimen_redis_trouble").unwrap();
        let declared: Vec<_> = metric.series().unwrap().concat();
        let named = Trouble::ALL.map(|trouble| ("trouble", trouble.name()));
        assert_eq!(declared, named);
    }
}
