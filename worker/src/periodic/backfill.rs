//! Fetches Stripe events that were never delivered, and stores them as the
//! webhook would have.
//!
//! Contract: one worker at a time, once in `BACKFILL_HOURS` over the whole
//! fleet, and on request. Idempotent: events are stored by id, so an
//! interrupted or concurrent run only costs time. A worker that vanishes is
//! replaced after [`HOLD`]; a failed run is retried after a minute, then with a
//! growing back-off. A draining worker stops at once. An event that Postgres
//! refuses is reported and does not block the others; each run retries it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use regimen_common::billing::event::{Event, StripeEventKind};
use regimen_common::db::DbError;
use regimen_common::db::billing::backfill::{self, Occasion, Tally};
use regimen_common::db::billing::claims::Failure;
use regimen_common::db::billing::events::{self, NewEvent, Source, Stored};
use regimen_common::dispatch::{List, Message};
use regimen_common::stripe::StripeError;
use serde_json::Value;
use tokio::time::MissedTickBehavior;

use crate::deps::Deps;

/// How long Stripe keeps events, in days.
pub const DAYS: u16 = 30;
/// How long a holder's claim lasts without renewal; longer than any page takes.
pub const HOLD: Duration = Duration::from_secs(60);
/// The highest number of pages (of a hundred events) of one walk.
const MAX_PAGES: usize = 10_000;
/// Runs of the reconciler between two checks whether a run is due.
const LOOKS: u32 = 5;

/// Why a run did not complete.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// Stripe did not answer, or refused.
    #[error(transparent)]
    Stripe(#[from] StripeError),
    /// Postgres failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// This worker was frozen for so long that another one took over.
    #[error("another worker has taken over the look for undelivered events")]
    Overtaken,
    /// There are more events than one run may read.
    #[error(
        "Stripe has more than {} events; look at fewer days: regimen-worker backfill --days N",
        MAX_PAGES * 100
    )]
    TooMany,
}

impl BackfillError {
    /// Its name in metrics and the table.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Stripe(error) => error.code(),
            Self::Db(_) => "database",
            Self::Overtaken => "overtaken",
            Self::TooMany => "too_many",
        }
    }

    /// Whether the next run may succeed without an operator.
    fn may_pass(&self) -> bool {
        match self {
            Self::Stripe(StripeError::Forbidden(_)) | Self::TooMany => false,
            Self::Stripe(error) => error.is_temporary(),
            Self::Db(error) => error.is_unavailable(),
            Self::Overtaken => true,
        }
    }
}

/// The result of a possible run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A run is not due, or another worker is running it.
    NotNow,
    /// Everything was read, and stored except for what Postgres refused.
    Complete(Tally),
    /// The process has to end; the next run reads everything again.
    BrokenOff,
}

/// The events that a walk reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// Events that Stripe could not deliver: few, and certainly missing.
    Undelivered,
    /// Events of the types that have an effect here, delivered or not: after a restored
    /// backup, Stripe considers lost events delivered. Other types are left out;
    /// otherwise every type that no endpoint requested would be stored.
    Effective,
}

/// Runs whenever a run is due, until the process drains.
pub async fn run(deps: Arc<Deps>) {
    let Some(every) = deps.config.stripe.backfill_every else { return };
    if !deps.stripe.is_configured() {
        tracing::info!("without STRIPE_SECRET_KEY nobody looks for undelivered Stripe events");
        return;
    }
    let mut ticks = tokio::time::interval(deps.config.reconcile_every * LOOKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drain = deps.shutdown.drain.clone();
    while drain.run_until_cancelled(ticks.tick()).await.is_some() {
        // Failures are reported where they happen.
        let _ = once(&deps, Occasion::Due(every), DAYS).await;
        report(&deps).await;
    }
}

/// Reads the events of the last `days` days, if this worker gets the claim.
///
/// # Errors
/// The run failed; events it has stored stay.
pub async fn once(deps: &Deps, occasion: Occasion, days: u16) -> Result<Outcome, BackfillError> {
    let holder = deps.config.claim.worker_id.as_str();
    match turn(deps, holder, occasion, days).await {
        Ok(outcome) => {
            if let Outcome::Complete(tally) = &outcome {
                tell(tally, days);
            }
            Ok(outcome)
        }
        Err(error) => {
            metrics::counter!("regimen_stripe_backfills_total", "outcome" => error.code())
                .increment(1);
            if error.may_pass() {
                tracing::warn!(%error, "could not look for undelivered Stripe events; trying again later");
            } else {
                tracing::error!(%error, "could not look for undelivered Stripe events; trying again later");
            }
            Err(error)
        }
    }
}

async fn turn(
    deps: &Deps,
    holder: &str,
    occasion: Occasion,
    days: u16,
) -> Result<Outcome, BackfillError> {
    let client = deps.db.get().await?;
    if !backfill::begin(&client, holder, occasion, HOLD).await? {
        return Ok(Outcome::NotNow);
    }
    drop(client);
    let looked = deps.shutdown.drain.run_until_cancelled(look(deps, holder, days)).await;
    let client = deps.db.get().await?;
    match looked {
        Some(Ok(tally)) => match backfill::complete(&client, holder, &tally).await? {
            true => Ok(Outcome::Complete(tally)),
            false => Err(BackfillError::Overtaken),
        },
        Some(Err(error)) => {
            let detail = error.to_string();
            let failure = Failure { code: error.code(), detail: &detail };
            backfill::fail(&client, holder, &failure).await?;
            Err(error)
        }
        None => {
            backfill::cancellation(&client, holder).await?;
            Ok(Outcome::BrokenOff)
        }
    }
}

async fn look(deps: &Deps, holder: &str, days: u16) -> Result<Tally, BackfillError> {
    let since = deps.clock.now().timestamp() - i64::from(days) * 86_400;
    let mut tally = Tally::default();
    for walk in [Walk::Undelivered, Walk::Effective] {
        walk_over(deps, holder, since, walk, &mut tally).await?;
    }
    Ok(tally)
}

/// Reads the pages from the newest event to the oldest.
async fn walk_over(
    deps: &Deps,
    holder: &str,
    since: i64,
    walk: Walk,
    tally: &mut Tally,
) -> Result<(), BackfillError> {
    let mut after: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let undelivered = walk == Walk::Undelivered;
        let page = deps.stripe.events(since, after.as_deref(), undelivered).await?;
        let last = page.data.last().and_then(|event| event.get("id")?.as_str()).map(str::to_owned);
        let client = deps.db.get().await?;
        if !backfill::hold_on(&client, holder, HOLD).await? {
            return Err(BackfillError::Overtaken);
        }
        if walk == Walk::Effective {
            tally.looked_at += page.data.len() as u64;
        }
        let fresh = store_missing(deps, &client, page.data, walk, tally).await?;
        drop(client);
        deps.queue.push_ids(List::Stripe, &fresh).await;
        match last {
            _ if !page.has_more => return Ok(()),
            // A repeated page would make the walk endless.
            Some(last) if after.as_ref() != Some(&last) => after = Some(last),
            _ => return Err(StripeError::Unreadable.into()),
        }
    }
    Err(BackfillError::TooMany)
}

/// Stores missing events; returns the ids of those to apply.
async fn store_missing(
    deps: &Deps,
    client: &regimen_common::db::Client,
    page: Vec<Value>,
    walk: Walk,
    tally: &mut Tally,
) -> Result<Vec<Message>, DbError> {
    let told: Vec<(Event, String)> =
        page.into_iter().filter_map(read).filter(|(event, _)| walk.wants(event)).collect();
    let ids: Vec<String> = told.iter().map(|(event, _)| event.id.clone()).collect();
    let known: BTreeSet<String> = events::known(client, &ids).await?.into_iter().collect();
    let mut fresh = Vec::new();
    for (event, payload) in &told {
        if known.contains(&event.id) || tally.refused.contains_key(&event.id) {
            continue;
        }
        let mismatch = deps.config.stripe.mode.mismatch(event);
        let source = Source::Backfill;
        let new = NewEvent { event, payload, source, mismatch, trace_context: None };
        let at = match events::store(client, &new).await {
            Ok(Stored::New { at }) => at,
            Ok(Stored::Duplicate) => continue, // Delivered this very moment.
            Err(error) if error.blames_a_row() => {
                refuse(&event.id, &error, tally);
                continue;
            }
            Err(error) => return Err(error),
        };
        tally.recovered += 1;
        match mismatch {
            None => fresh.push(Message::new(&event.id, at, None)),
            Some(reason) => {
                tally.mismatched += 1;
                metrics::counter!("regimen_stripe_alerts_total", "alert" => reason).increment(1);
            }
        }
    }
    Ok(fresh)
}

/// Reports an event that cannot be stored, by its id alone.
fn refuse(id: &str, error: &DbError, tally: &mut Tally) {
    metrics::counter!("regimen_poison_rows_total", "step" => "backfill").increment(1);
    tracing::error!(
        event = id, %error,
        "this undelivered event cannot be stored; mend what the error names, the next look for \
         undelivered events tries it again"
    );
    tally.refused.insert(id.to_owned(), error.to_string());
}

impl Walk {
    fn wants(self, event: &Event) -> bool {
        self == Self::Undelivered || event.kind != StripeEventKind::Other
    }
}

/// An event of a list and its text.
fn read(value: Value) -> Option<(Event, String)> {
    let payload = value.to_string();
    match Event::from_value(value) {
        Ok(event) => Some((event, payload)),
        Err(error) => {
            tracing::warn!(%error, "Stripe lists something that is no event; leaving it out");
            None
        }
    }
}

fn tell(tally: &Tally, days: u16) {
    metrics::counter!("regimen_stripe_backfills_total", "outcome" => "complete").increment(1);
    metrics::counter!("regimen_stripe_events_recovered_total").increment(tally.recovered);
    if tally.mismatched > 0 {
        tracing::error!(
            events = tally.mismatched,
            "Stripe lists events that do not belong to this deployment; STRIPE_SECRET_KEY and STRIPE_LIVEMODE do not fit each other"
        );
    }
    let (looked_at, recovered, refused) = (tally.looked_at, tally.recovered, tally.refused.len());
    metrics::gauge!("regimen_rows_set_aside", "step" => "backfill").set(refused as f64);
    if recovered == 0 && refused == 0 {
        tracing::info!(looked_at, days, "no Stripe event is missing");
    } else {
        tracing::warn!(
            looked_at,
            recovered,
            refused,
            days,
            "stored Stripe events that were not delivered"
        );
    }
}

/// The age gauge that operators alert on.
async fn report(deps: &Deps) {
    let standing = async {
        let client = deps.db.get().await?;
        backfill::standing(&client).await
    };
    match standing.await {
        Ok(standing) => {
            let age = standing.age.map_or(f64::INFINITY, |age| age.as_secs_f64());
            metrics::gauge!("regimen_stripe_backfill_age_seconds").set(age);
        }
        Err(error) => tracing::warn!(%error, "cannot tell when events were last looked for"),
    }
}
