//! Whether a process can work, and if not, why and what to do: the answers of
//! `/readyz` and `/livez` of both binaries.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::db::{DbError, Pool};
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
    /// Whether work may be sent to this process.
    pub fn takes_work(&self) -> bool {
        matches!(self.status, "ready" | "degraded")
    }
}

/// The stores whose state decides whether the process can take work.
#[derive(Debug, Clone)]
pub struct Stores {
    db: Pool,
    redis: Redis,
    drain: CancellationToken,
    /// The trouble of Postgres that the log names as the present one.
    logged: Arc<Mutex<Option<&'static str>>>,
}

impl Stores {
    /// No new work is taken once `drain` is cancelled.
    pub fn new(db: Pool, redis: Redis, drain: CancellationToken) -> Self {
        Self { db, redis, drain, logged: Arc::default() }
    }

    /// Asks Postgres whether it accepts jobs. Only a change is logged, because others decide
    /// how often it is asked.
    ///
    /// # Errors
    /// Why it accepts none.
    pub async fn postgres(&self) -> Result<(), DbError> {
        let postgres = self.db.ready().await;
        if self.is_news(postgres.as_ref().err()) {
            match &postgres {
                Ok(()) => tracing::info!("ready again"),
                Err(error) => tracing::warn!(%error, "not ready"),
            }
        }
        postgres
    }

    fn is_news(&self, error: Option<&DbError>) -> bool {
        // A process that drains closes its own connections.
        if self.drain.is_cancelled() {
            return false;
        }
        let trouble = error.map(DbError::trouble);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *logged, trouble) != trouble
    }

    /// What follows from Postgres's trouble, what is known of Redis, and the drain.
    pub fn readiness(&self, postgres: Option<&DbError>) -> Readiness {
        let postgres_trouble = postgres.map(DbError::trouble);
        let redis_trouble = self.redis.trouble().map(Trouble::as_str);
        let status = match (self.drain.is_cancelled(), postgres_trouble, redis_trouble) {
            (true, ..) => "draining",
            (false, Some(_), _) => "unavailable",
            (false, None, Some(_)) => "degraded",
            (false, None, None) => "ready",
        };
        Readiness {
            status,
            postgres: postgres_trouble.is_none(),
            postgres_trouble,
            redis: redis_trouble.is_none(),
            redis_trouble,
        }
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
    use secrecy::SecretString;

    use super::*;
    use crate::db;

    async fn until_broken(vital: &VitalTasks) -> Vec<&'static str> {
        while vital.liveness().is_alive() {
            tokio::task::yield_now().await;
        }
        vital.liveness().ended
    }

    fn stores(drain: &CancellationToken) -> Stores {
        let url = SecretString::from("postgres://nobody@127.0.0.1:1/none");
        let db = db::pool(&url, 1, "test").unwrap();
        let redis = Redis::new(&SecretString::from("redis://127.0.0.1:1"), "test").unwrap();
        Stores::new(db, redis, drain.clone())
    }

    #[tokio::test]
    async fn a_drain_shows_whatever_is_known_of_the_stores() {
        let drain = CancellationToken::new();
        let stores = stores(&drain);
        assert!(stores.readiness(None).takes_work());
        let refused = stores.readiness(Some(&DbError::ReadOnly));
        assert_eq!((refused.status, refused.postgres), ("unavailable", false));
        drain.cancel();
        for postgres in [None, Some(&DbError::ReadOnly)] {
            assert_eq!(stores.readiness(postgres).status, "draining");
        }
    }

    #[tokio::test]
    async fn only_a_change_of_postgres_is_news_and_none_during_a_drain() {
        let drain = CancellationToken::new();
        let stores = stores(&drain);
        assert!(!stores.is_news(None), "it is expected at the start");
        let asked_elsewhere = stores.clone();
        for (error, news) in [
            (Some(&DbError::ReadOnly), true),
            (Some(&DbError::ReadOnly), false),
            (Some(&DbError::TransactionPooler), true),
            (None, true),
            (None, false),
        ] {
            assert_eq!(stores.is_news(error), news, "{error:?}");
            assert!(!asked_elsewhere.is_news(error), "{error:?}");
        }
        drain.cancel();
        assert!(!stores.is_news(Some(&DbError::Closed)));
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
