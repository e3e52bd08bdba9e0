//! Whether a process can work, and if not, why and what to do: the answers of
//! `/readyz` and `/livez` of both binaries.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::db::Pool;
use crate::redis::{Redis, Trouble};

/// Whether the process can take work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    /// `ready`; `degraded`: Redis is away, and the process works without it; `draining`:
    /// the process is stopping; `unavailable`: Postgres accepts no jobs.
    pub status: &'static str,
    /// Whether Postgres accepts jobs: it answers, is not read-only, and its tables exist
    /// and are not locked.
    pub postgres: bool,
    /// While Postgres accepts none: why, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres_trouble: Option<&'static str>,
    /// Whether Redis is available: it accepts writes.
    pub redis: bool,
    /// While Redis is away: why, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_trouble: Option<&'static str>,
}

impl Readiness {
    /// Checks the stores. No new work is taken once `drain` is cancelled.
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

    /// Whether work may be sent to this process.
    pub fn takes_work(&self) -> bool {
        matches!(self.status, "ready" | "degraded")
    }
}

/// Whether the process works as intended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Liveness {
    /// `alive`, or `broken`: restart the process.
    pub status: &'static str,
    /// Vital tasks that have ended.
    pub ended: Vec<&'static str>,
}

impl Liveness {
    /// Whether no restart is needed.
    pub fn is_alive(&self) -> bool {
        self.ended.is_empty()
    }
}

/// Tasks that must not end while the process runs.
#[derive(Debug, Clone)]
pub struct VitalTasks {
    drain: CancellationToken,
    ended: Arc<Mutex<Vec<&'static str>>>,
}

impl VitalTasks {
    /// No tasks yet. Once `drain` is cancelled they may end.
    pub fn new(drain: CancellationToken) -> Self {
        Self { drain, ended: Arc::default() }
    }

    /// Runs one on its own task.
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

    /// Whether all of them are running.
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
