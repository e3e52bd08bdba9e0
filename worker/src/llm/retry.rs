//! The next step after a failed call: one table ([`rule`]) for every class of
//! failure, and the arithmetic that applies it ([`decide`]).

use std::time::Duration;

use regimen_common::backoff::{backoff, jittered};

use super::ProviderError;
use super::policy::FallbackPolicy;

/// The rule for a class of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Whether the same provider is called again.
    pub again: Again,
    /// What it says about the provider's health.
    pub health: Health,
    /// It needs an operator: raise the alert counter.
    pub alert: bool,
}

/// Whether and how the same provider is called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// After a back-off, or after the provider's retry-after.
    Later,
    /// One plain repeat.
    Once,
    /// One repeat with a doubled output cap.
    HigherCap,
    /// No: the next provider.
    No,
    /// Only without the refused part of the request. Otherwise no; and when a second
    /// provider finds the same fault, no further provider is called.
    Settled(Settled),
}

/// An error that a second provider may confirm, after which the job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Providers refuse to write this.
    Refused,
    /// Providers reject the request itself.
    BadRequest,
}

/// What a failure says about the provider and model, for all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Nothing.
    Fine,
    /// It may be down; the weight counts towards opening the breaker.
    Failing(u32),
    /// It asks to cool down.
    Busy,
    /// It cannot work until somebody pays.
    Broke,
    /// It cannot work until the configuration changes.
    Misconfigured,
}

/// A failure that held a slot for its whole slice counts more than a fast one.
const QUICK: Health = Health::Failing(1);
const SLOW: Health = Health::Failing(3);

/// The rule for `error`, modified by the provider's advice (`x-should-retry`), which
/// overrides the status but not a lack of money.
pub fn rule(error: &ProviderError) -> Rule {
    let rule = table(error);
    match error.reply().and_then(|reply| reply.should_retry) {
        Some(true) if rule.health == Health::Broke => rule,
        Some(true) if rule.again != Again::Later => {
            Rule { again: Again::Later, health: QUICK, alert: false }
        }
        Some(false) if rule.again == Again::Later => Rule { again: Again::No, ..rule },
        Some(_) | None => rule,
    }
}

/// The table. Exhaustive on purpose: a new kind of failure needs its row.
fn table(error: &ProviderError) -> Rule {
    let row = |again, health, alert| Rule { again, health, alert };
    match error {
        ProviderError::Connect { .. } => row(Again::Later, QUICK, false),
        ProviderError::Certificate { .. } => row(Again::No, QUICK, true),
        ProviderError::Timeout { .. } => row(Again::Later, SLOW, false),
        ProviderError::Cut { .. } => row(Again::Later, QUICK, false),
        ProviderError::TooLarge { .. } => row(Again::No, QUICK, false),
        ProviderError::Empty { .. } => row(Again::Later, QUICK, false),
        ProviderError::Unavailable(_) => row(Again::Later, QUICK, false),
        ProviderError::RateLimited(_) => row(Again::Later, Health::Busy, false),
        ProviderError::QuotaSpent(_) => row(Again::No, Health::Broke, true),
        ProviderError::OutOfMoney(_) => row(Again::No, Health::Broke, true),
        ProviderError::Unauthorized(_) => row(Again::No, Health::Misconfigured, true),
        ProviderError::ModelNotFound(_) => row(Again::No, Health::Misconfigured, true),
        ProviderError::BadRequest(_) => {
            row(Again::Settled(Settled::BadRequest), Health::Fine, true)
        }
        ProviderError::Truncated { .. } => row(Again::HigherCap, Health::Fine, false),
        ProviderError::Declined(_) | ProviderError::Refused { .. } => {
            row(Again::Settled(Settled::Refused), Health::Fine, false)
        }
        ProviderError::Invalid { .. } => row(Again::Once, Health::Fine, false),
    }
}

/// The state of a run at a provider when a call fails.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Calls to this provider so far, the failed one included.
    pub calls: u32,
    /// A repeat for an invalid reply was made.
    pub repeated: bool,
    /// A repeat with a higher cap was made.
    pub raised: bool,
    /// The cap can still be raised.
    pub can_raise: bool,
    /// The request can be made without what this provider refuses of it.
    pub refused: bool,
    /// An earlier provider found the same fault in the request.
    pub confirmed: bool,
    /// The time left in this provider's slice of the deadline.
    pub left: Duration,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Call the same provider again after this wait.
    Again(Duration),
    /// Call it again at once with a higher cap.
    Raise,
    /// Call it again at once without the refused part.
    Amend,
    /// Call the next provider.
    FallOver,
    /// Call no further provider: a second one confirmed the error.
    End(Settled),
}

/// Applies the table. `jitter` is a random number from 0 up to 1.
pub fn decide(error: &ProviderError, at: Standing, policy: &FallbackPolicy, jitter: f64) -> Next {
    let fits = |wait: Duration| at.calls < policy.attempts && wait + policy.floor <= at.left;
    let later = |wait: Duration| if fits(wait) { Next::Again(wait) } else { Next::FallOver };
    let wait = hint(error).unwrap_or_else(|| wait_after(at.calls, policy, jitter));
    match rule(error).again {
        Again::Later => later(wait),
        Again::Once if !at.repeated && fits(Duration::ZERO) => Next::Again(Duration::ZERO),
        Again::HigherCap if !at.raised && at.can_raise && fits(Duration::ZERO) => Next::Raise,
        Again::Settled(_) if at.refused && policy.floor <= at.left => Next::Amend,
        Again::Settled(settled) if at.confirmed => Next::End(settled),
        Again::Once | Again::HigherCap | Again::No | Again::Settled(_) => Next::FallOver,
    }
}

/// Full jitter: between zero and a ceiling that doubles with each call.
pub fn wait_after(calls: u32, policy: &FallbackPolicy, jitter: f64) -> Duration {
    jittered(backoff(calls, policy.backoff_base, policy.backoff_cap), 0.0, jitter)
}

/// The provider's retry-after.
pub fn hint(error: &ProviderError) -> Option<Duration> {
    error.reply().and_then(|reply| reply.wait)
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
