//! What health checks are answered with. Anybody may send them, and the flood guard lets
//! them pass, so all of them share the answers of Postgres: it is asked for each at most
//! once a second, and one connection is enough.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::db::models::{self, ProviderInUse};
use regimen_common::db::{DbError, Pool};
use regimen_common::readiness::{Readiness, Stores};
use regimen_common::redis::Redis;
use tokio_util::sync::CancellationToken;

use crate::measurement::Measurement;

/// How long an answer of Postgres is valid, a failure too.
const FRESH: Duration = Duration::from_secs(1);

/// Asks for health checks.
#[derive(Debug)]
pub struct Probes {
    db: Pool,
    stores: Stores,
    postgres: Measurement<()>,
    providers: Measurement<Vec<ProviderInUse>>,
}

impl Probes {
    /// Not ready once `drain` is cancelled.
    pub fn new(db: Pool, redis: Redis, drain: CancellationToken) -> Self {
        Self {
            stores: Stores::new(db.clone(), redis, drain),
            db,
            postgres: Measurement::new(FRESH).with_failures(),
            providers: Measurement::new(FRESH).with_failures(),
        }
    }

    /// Whether Postgres accepted jobs within the last second.
    ///
    /// # Errors
    /// Why not.
    pub async fn postgres(&self) -> Result<(), Arc<DbError>> {
        let stores = self.stores.clone();
        self.postgres.get(|| async move { stores.postgres().await }).await.map(|_| ())
    }

    /// Whether the process can take work. A drain shows at once, and so does what is known
    /// of Redis.
    pub async fn readiness(&self) -> Readiness {
        let postgres = self.postgres().await;
        self.stores.readiness(postgres.as_ref().err().map(AsRef::as_ref))
    }

    /// The providers of live workers within the last second.
    ///
    /// # Errors
    /// Postgres failed.
    pub async fn providers(&self) -> Result<Arc<Vec<ProviderInUse>>, Arc<DbError>> {
        let db = self.db.clone();
        let ask = || async move { models::providers(&db.get().await?).await };
        self.providers.get(ask).await
    }
}
