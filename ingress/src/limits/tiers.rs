//! A user's plan tier, cached briefly.
//!
//! The limits need it on every request; a change of plan takes effect within
//! [`KEEP`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use regimen_common::account::PlanTier;
use regimen_common::db::Pool;
use regimen_common::db::{DbError, accounts};
use tokio::time::Instant;
use uuid::Uuid;

const KEEP: Duration = Duration::from_secs(30);
/// About 5 MB; beyond it the cache is emptied.
const MAX_USERS: usize = 100_000;

/// Caches the users' plan tiers.
#[derive(Debug)]
pub struct Tiers {
    db: Pool,
    known: Mutex<HashMap<Uuid, (PlanTier, Instant)>>,
}

impl Tiers {
    pub(super) fn new(db: Pool) -> Self {
        Self { db, known: Mutex::default() }
    }

    /// The user's tier. While Postgres is away everybody counts as free, because the
    /// request will not be accepted anyway.
    pub async fn of(&self, user: Uuid) -> PlanTier {
        if let Some(tier) = self.remembered(user) {
            return tier;
        }
        match self.look_up(user).await {
            Ok(tier) => {
                self.remember(user, tier);
                tier
            }
            Err(error) => {
                tracing::debug!(%error, "cannot tell a user's plan; assuming free");
                PlanTier::Free
            }
        }
    }

    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.lock().retain(|_, (_, until)| now < *until);
    }

    async fn look_up(&self, user: Uuid) -> Result<PlanTier, DbError> {
        let client = self.db.get().await?;
        Ok(accounts::plan_tier(&client, user).await?.unwrap_or(PlanTier::Free))
    }

    fn remembered(&self, user: Uuid) -> Option<PlanTier> {
        let now = Instant::now();
        self.lock().get(&user).filter(|(_, until)| now < *until).map(|(tier, _)| *tier)
    }

    fn remember(&self, user: Uuid, tier: PlanTier) {
        let mut known = self.lock();
        if known.len() >= MAX_USERS {
            known.clear();
        }
        known.insert(user, (tier, Instant::now() + KEEP));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, (PlanTier, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
