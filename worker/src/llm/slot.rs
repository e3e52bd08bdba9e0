//! A provider with this worker's limits.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::feature::Refused;
use super::{Provider, ProviderName};

/// What one worker allows itself towards one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLimits {
    /// Calls begun per second; as many may begin at once.
    pub per_second: NonZeroU32,
    /// Calls under way at once.
    pub concurrent: u32,
}

/// A provider with its limits.
#[derive(Debug)]
pub struct ProviderSlot {
    /// The adapter.
    pub provider: Box<dyn Provider>,
    /// The model to ask when a job names none.
    pub model: String,
    fingerprint: String,
    bucket: DefaultDirectRateLimiter,
    slots: Semaphore,
    /// What its models are known to refuse.
    pub(crate) refused: Refused,
}

impl ProviderSlot {
    /// A step that asks `provider`. `configuration` is what its breaker depends
    /// on (key and address): when that changes, old verdicts no longer count.
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

    /// Which provider it asks.
    pub fn name(&self) -> ProviderName {
        self.provider.name()
    }

    /// The name of this provider and model in cool-downs and breakers. Another
    /// number of `lifts` is another name: what an operator has lifted is not
    /// looked at any more, here and in Redis.
    pub fn key(&self, model: &str, lifts: i64) -> String {
        let (name, fingerprint) = (self.name(), &self.fingerprint);
        match lifts {
            0 => format!("{name}:{fingerprint}:{model}"),
            lifts => format!("{name}:{fingerprint}.{lifts}:{model}"),
        }
    }

    /// Waits for this worker's own limits; `None` when that takes past `until`.
    pub async fn enter(&self, until: Instant) -> Option<SemaphorePermit<'_>> {
        let turn = async {
            let permit = self.slots.acquire().await.ok()?;
            self.bucket.until_ready().await;
            Some(permit)
        };
        timeout_at(until, turn).await.ok().flatten()
    }
}
