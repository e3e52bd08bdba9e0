//! Whether a process can work, and if not, why and what to do: the answers of
//! `/readyz` and `/livez` of both binaries.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::db::Pool;
use crate::redis::{Redis, Trouble};

/// Whether work can be taken, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    /// `ready`; `degraded`: Redis is away, and everything goes on without it;
    /// `draining`: the process ends; `unavailable`: Postgres takes no jobs.
    pub status: &'static str,
    /// Whether Postgres takes jobs: it answers, is not read-only, and its tables are
    /// there and not locked.
    pub postgres: bool,
    /// While Postgres takes none: why, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres_trouble: Option<&'static str>,
    /// Whether Redis works: it takes writes.
    pub redis: bool,
    /// While Redis is away: why, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_trouble: Option<&'static str>,
}

impl Readiness {
    /// Looks at the stores. Nothing new is taken once `drain` is cancelled.
    pub async fn look(db: &Pool, redis: &Redis, drain: &CancellationToken) -> Self {
        let postgres = db.ready().await;
        let draining = drain.is_cancelled();
        if let Err(error) = &postgres
            && !draining
        {
            tracing::warn!(%error, "not ready");
        }
        let postgres_trouble = postgres.err().map(|error| error.trouble());
        let redis_trouble = redis.trouble().map(Trouble::as_str);
        let status = match (draining, postgres_trouble, redis_trouble) {
            (true, ..) => "draining",
            (false, Some(_), _) => "unavailable",
            (false, None, Some(_)) => "degraded",
            (false, None, None) => "ready",
        };
        Self {
            status,
            postgres: postgres_trouble.is_none(),
            postgres_trouble,
            redis: redis_trouble.is_none(),
            redis_trouble,
        }
    }

    /// Whether work may be sent here.
    pub fn takes_work(&self) -> bool {
        matches!(self.status, "ready" | "degraded")
    }
}

/// Whether the process lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Liveness {
    /// `alive`, or `broken`: only a new start helps.
    pub status: &'static str,
    /// Tasks that must go on for as long as the process lives, and have ended.
    pub ended: Vec<&'static str>,
}

impl Liveness {
    /// Whether the process is to be left alone.
    pub fn is_alive(&self) -> bool {
        self.ended.is_empty()
    }
}

/// The tasks without which a process is of no use, though it answers.
#[derive(Debug, Clone)]
pub struct VitalTasks {
    drain: CancellationToken,
    ended: Arc<Mutex<Vec<&'static str>>>,
}

impl VitalTasks {
    /// None yet. Once `drain` is cancelled they may end.
    pub fn new(drain: CancellationToken) -> Self {
        Self { drain, ended: Arc::default() }
    }

    /// Runs one on a task of its own.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (task, vital) = (tokio::spawn(work), self.clone());
        tokio::spawn(async move {
            let outcome = task.await;
            if outcome.is_ok() && vital.drain.is_cancelled() {
                return;
            }
            tracing::error!(
                task = name,
                "a task that must go on has ended: a defect; /livez says so from now on, so that \
                 the process is started anew"
            );
            vital.ended.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        });
    }

    /// Whether all of them go on.
    pub fn liveness(&self) -> Liveness {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Liveness { status: if ended.is_empty() { "alive" } else { "broken" }, ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until_broken(vital: &VitalTasks) -> Vec<&'static str> {
        while vital.liveness().is_alive() {
            tokio::task::yield_now().await;
        }
        vital.liveness().ended
    }

    #[tokio::test]
    async fn a_task_that_panics_or_ends_by_itself_breaks_the_process() {
        let vital = VitalTasks::new(CancellationToken::new());
        vital.spawn("waits", std::future::pending());
        assert!(vital.liveness().is_alive());
        vital.spawn("panics", async { panic!("on purpose") });
        assert_eq!(until_broken(&vital).await, ["panics"]);
        let vital = VitalTasks::new(CancellationToken::new());
        vital.spawn("ends", async {});
        assert_eq!(until_broken(&vital).await, ["ends"]);
    }

    #[tokio::test]
    async fn a_drain_ends_tasks_and_breaks_nothing() {
        let drain = CancellationToken::new();
        let vital = VitalTasks::new(drain.clone());
        let (done, ended) = tokio::sync::oneshot::channel::<()>();
        let cancelled = drain.clone();
        vital.spawn("drains", async move {
            cancelled.cancelled().await;
            drop(done);
        });
        drain.cancel();
        assert!(ended.await.is_err());
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(vital.liveness().status, "alive");
    }
}
