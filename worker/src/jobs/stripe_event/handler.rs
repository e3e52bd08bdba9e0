//! Applies one stored Stripe event.
//!
//! Contract: idempotent, and independent of the order of events (see
//! `billing::apply`). Events of one customer are serialised by a lock in
//! Postgres. The effect and the event's end are one transaction, so a crash
//! leaves either nothing or everything done; the claim expires and another
//! worker takes over. Failures are retried with a growing back-off, then the
//! event is dead: kept with its reason until it is replayed.

use std::time::Duration;

use regimen_common::backoff::backoff;
use regimen_common::billing::event::{BadPayload, Event};
use regimen_common::db::DbError;
use regimen_common::db::billing::claims::{self, ClaimedEvent, Failure};
use regimen_common::db::billing::events::EventState;
use regimen_common::dispatch::{List, Message};
use regimen_common::stripe::StripeError;
use regimen_common::telemetry::UserHash;
use tokio::time::Instant;

use super::settle::{self, Settled};
use crate::deps::Deps;

/// How long a claim is valid: a lost worker delays its events by this time.
pub const HOLD: Duration = Duration::from_secs(30);
/// The handler's time limit, well below the duration of its claim.
const LIMIT: Duration = Duration::from_secs(25);
/// After this many claims an event with temporary failures is dead: half a day.
const PATIENT_ATTEMPTS: i32 = 22;
/// The same for failures that look like defects.
const IMPATIENT_ATTEMPTS: i32 = 6;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Why an event was not applied.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The stored body is not an event.
    #[error(transparent)]
    Unreadable(#[from] BadPayload),
    /// Only Stripe could decide, and did not answer.
    #[error(transparent)]
    Stripe(#[from] StripeError),
    /// Postgres failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Other events of the customer changed its state repeatedly.
    #[error("other events of this customer keep coming first")]
    Contended,
    /// It took too long.
    #[error("not applied within {} seconds", LIMIT.as_secs())]
    TooSlow,
    /// The handler panicked.
    #[error("the handler panicked; the log has the details")]
    Panicked,
}

/// Whether a retry of the event can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prospect {
    /// Temporary, or until an operator helps.
    Patient,
    /// May be a defect.
    Impatient,
    /// Permanent.
    Hopeless,
}

impl EventError {
    fn prospect(&self) -> Prospect {
        match self {
            Self::Unreadable(_) => Prospect::Hopeless,
            Self::Stripe(error) if error.is_temporary() => Prospect::Patient,
            Self::Stripe(_) => Prospect::Hopeless,
            Self::Db(error) if error.is_unavailable() => Prospect::Patient,
            Self::Contended => Prospect::Patient,
            Self::Db(_) | Self::TooSlow | Self::Panicked => Prospect::Impatient,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Stripe(error) => error.code(),
            Self::Db(_) => "database",
            Self::Contended => "contended",
            Self::TooSlow => "too_slow",
            Self::Panicked => "panicked",
        }
    }

    /// How long to wait before attempt number `attempts + 1`; `None` to give up.
    fn wait_after(&self, attempts: i32) -> Option<Duration> {
        let limit = match self.prospect() {
            Prospect::Patient => PATIENT_ATTEMPTS,
            Prospect::Impatient => IMPATIENT_ATTEMPTS,
            Prospect::Hopeless => 0,
        };
        (attempts < limit).then(|| backoff(attempts.unsigned_abs(), FIRST_WAIT, LONGEST_WAIT))
    }
}

/// Applies a claimed event and records the outcome.
pub async fn handle(deps: &Deps, claimed: &ClaimedEvent) {
    let started = Instant::now();
    let label = match attempt(deps, claimed).await {
        Ok(settled) => {
            if matches!(settled.state, Some(EventState::Applied | EventState::Ignored)) {
                let until_claimed = (claimed.claimed_at - claimed.received_at).to_std();
                metrics::histogram!("regimen_stripe_event_delay_seconds")
                    .record(until_claimed.unwrap_or_default() + started.elapsed());
            }
            after_commit(deps, claimed, &settled).await;
            settled.state.map_or("gone", |state| state.as_str())
        }
        Err(error) => {
            give_back(deps, claimed, &error).await;
            error.code()
        }
    };
    count(label);
    metrics::histogram!("regimen_stripe_event_seconds").record(started.elapsed());
}

/// Records that the handler panicked: the event is retried, or dead.
pub async fn panicked(deps: &Deps, claimed: &ClaimedEvent) {
    count(EventError::Panicked.code());
    give_back(deps, claimed, &EventError::Panicked).await;
}

fn count(outcome: &'static str) {
    metrics::counter!("regimen_stripe_events_total", "outcome" => outcome).increment(1);
}

async fn attempt(deps: &Deps, claimed: &ClaimedEvent) -> Result<Settled, EventError> {
    let event = Event::parse(claimed.payload.as_bytes())?;
    let work = settle::settle(deps, claimed, &event);
    tokio::time::timeout(LIMIT, work).await.unwrap_or(Err(EventError::TooSlow))
}

async fn after_commit(deps: &Deps, claimed: &ClaimedEvent, settled: &Settled) {
    for alert in &settled.alerts {
        metrics::counter!("regimen_stripe_alerts_total", "alert" => alert.as_str()).increment(1);
        tracing::error!(
            event_id = claimed.id,
            alert = alert.as_str(),
            "a Stripe event needs an operator's eye"
        );
    }
    for (user, subscriptions) in &settled.paid_twice {
        tracing::error!(
            user = %UserHash::of(*user),
            subscriptions = subscriptions.join(", "),
            "a user pays for more than one subscription; end and refund one of them \
             (docs/runbook.md, Paid twice)"
        );
    }
    if settled.mail {
        let message = Message::new(&claimed.id, claimed.claimed_at, None);
        deps.queue.push_ids(List::Notify, &[message]).await;
    }
}

async fn give_back(deps: &Deps, claimed: &ClaimedEvent, error: &EventError) {
    let detail = error.to_string();
    let failure = Failure { code: error.code(), detail: &detail };
    let written = async {
        let client = deps.db.get().await?;
        match error.wait_after(claimed.attempts) {
            Some(wait) => {
                tracing::warn!(event_id = claimed.id, %error, wait = wait.as_secs(), "a Stripe event is tried again");
                claims::retry_later(&client, claimed, wait, &failure).await
            }
            None => {
                tracing::error!(event_id = claimed.id, %error, "a Stripe event is dead; mend the cause and replay it");
                metrics::counter!("regimen_stripe_alerts_total", "alert" => "dead").increment(1);
                claims::bury(&client, claimed, &failure).await
            }
        }
    };
    let written: Result<bool, DbError> = written.await;
    if let Err(error) = written {
        tracing::warn!(event_id = claimed.id, %error, "leaving a Stripe event to the end of its claim");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let away = EventError::Stripe(StripeError::Busy { status: 503 });
        assert_eq!(away.wait_after(1), Some(Duration::from_secs(1)));
        assert_eq!(away.wait_after(5), Some(Duration::from_secs(16)));
        assert_eq!(away.wait_after(21), Some(LONGEST_WAIT));
        assert_eq!(away.wait_after(22), None);
        assert!(EventError::TooSlow.wait_after(5).is_some());
        assert_eq!(EventError::TooSlow.wait_after(6), None);
        assert_eq!(EventError::Stripe(StripeError::NoKey).wait_after(1), None);
    }
}
