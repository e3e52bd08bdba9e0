//! A provider with this worker's limits.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::feature::Refused;
use super::{Provider, ProviderName};

/// One worker's own limits for one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLimits {
    /// Calls per second; as many may start at once.
    pub per_second: NonZeroU32,
    /// Concurrent calls.
    pub concurrent: u32,
}

/// A provider with its limits.
#[derive(Debug)]
pub struct ProviderSlot {
    /// The adapter.
    pub provider: Box<dyn Provider>,
    /// The model for jobs that name none.
    pub model: String,
    fingerprint: String,
    bucket: DefaultDirectRateLimiter,
    slots: Semaphore,
    /// The features that its models refuse.
    pub(crate) refused: Refused,
}

impl ProviderSlot {
    /// A slot for `provider`. `configuration` is what its breaker depends on (key and
    /// URL): when that changes, the old state no longer counts.
    pub fn new(
        provider: Box<dyn Provider>,
        model: String,
        limits: SlotLimits,
        configuration: &[&[u8]],
    ) -> Self {
        let mut hash = Sha256::new();
        for part in configuration {
            hash.update(part);
            hash.update([0]);
        }
        let fingerprint = hex::encode(hash.finalize().get(..4).unwrap_or_default());
        let slots = usize::try_from(limits.concurrent).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            provider,
            model,
            fingerprint,
            bucket: RateLimiter::direct(Quota::per_second(limits.per_second)),
            slots: Semaphore::new(slots.min(Semaphore::MAX_PERMITS)),
            refused: Refused::default(),
        }
    }

    /// Its provider.
    pub fn name(&self) -> ProviderName {
        self.provider.name()
    }

    /// The key of this provider and model in cool-downs and breakers. A different number
    /// of `lifts` gives a different key: the state before the operator's resumption is no
    /// longer read, here and in Redis.
    pub fn key(&self, model: &str, lifts: i64) -> String {
        let (name, fingerprint) = (self.name(), &self.fingerprint);
        match lifts {
            0 => format!("{name}:{fingerprint}:{model}"),
            lifts => format!("{name}:{fingerprint}.{lifts}:{model}"),
        }
    }

    /// Waits for this worker's own limits; `None` if that takes beyond `until`.
    pub async fn enter(&self, until: Instant) -> Option<SemaphorePermit<'_>> {
        let turn = async {
            let permit = self.slots.acquire().await.ok()?;
            self.bucket.until_ready().await;
            Some(permit)
        };
        timeout_at(until, turn).await.ok().flatten()
    }
}
