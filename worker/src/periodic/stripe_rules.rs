//! Recomputes plans where no event does: for rows of older releases, a changed
//! `STRIPE_PRICES`, or a pause that has ended.
//!
//! Contract: runs on every worker at its start and then hourly, concurrently
//! and repeatedly; a crash in between loses nothing. Only users with a live
//! subscription are changed, so a plan that an operator gave away stays.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::billing::entitlement::Entitlement;
use regimen_common::billing::record::{Basis, Record, Standing};
use regimen_common::billing::verdict::{Answer, Question};
use regimen_common::db::billing::{customers, profiles};
use regimen_common::db::{Client, DbError};
use regimen_common::stripe::StripeError;
use regimen_common::telemetry::UserHash;
use uuid::Uuid;

use crate::deps::Deps;

const EVERY: Duration = Duration::from_secs(3_600);
const AFTER_FAILURE: Duration = Duration::from_secs(60);
/// Users per statement.
const PAGE: i64 = 200;
/// Subscriptions fetched per batch.
const UNREAD: i64 = 20;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// Postgres failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Stripe did not answer about rows of older releases.
    #[error(transparent)]
    Stripe(#[from] StripeError),
}

/// Runs until the process drains.
pub async fn run(deps: Arc<Deps>) {
    warn_without_prices(&deps);
    let drain = deps.shutdown.drain.clone();
    loop {
        let wait = match drain.run_until_cancelled(once(&deps)).await {
            None => return,
            Some(Ok(())) => EVERY,
            Some(Err(error)) => {
                tracing::warn!(%error, "could not look whether plans follow what entitles; trying again");
                AFTER_FAILURE
            }
        };
        if drain.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
    }
}

fn warn_without_prices(deps: &Deps) {
    let unset = deps.config.stripe.policy.entitling.is_empty();
    metrics::gauge!("regimen_stripe_prices_unset").set(f64::from(u8::from(unset)));
    if unset && deps.stripe.is_configured() {
        tracing::warn!(
            "STRIPE_PRICES is not set for this worker, so every subscription of the Stripe account \
             gives pro, whatever it is for; set it as for the ingress, and what is sold no more in \
             STRIPE_OLD_PRICES"
        );
    }
}

/// One run. Plans are recomputed also when Stripe does not answer.
///
/// # Errors
/// Postgres or Stripe failed; what was done before stays done.
pub async fn once(deps: &Deps) -> Result<(), RulesError> {
    let read = if deps.stripe.is_configured() { read_anew(deps).await } else { Ok(()) };
    follow(deps).await?;
    read
}

/// Fetches the live subscriptions of older releases, whose rows lack items and pauses,
/// from Stripe. One that cannot be written does not block the others.
async fn read_anew(deps: &Deps) -> Result<(), RulesError> {
    let mut quarantine = Vec::new();
    loop {
        let client = deps.db.get().await?;
        let unread = profiles::unread(&client, &quarantine, UNREAD).await?;
        drop(client);
        if unread.is_empty() {
            return Ok(());
        }
        for (id, customer) in unread {
            let answer = deps.stripe.answer(&Question::Subscription(id.clone())).await?;
            match note(deps, &id, &customer, &answer).await {
                Ok(()) => {}
                Err(error) if error.blames_a_row() => {
                    tracing::error!(subscription = id, %error, "a subscription cannot be read anew");
                    quarantine.push(id);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

async fn note(deps: &Deps, id: &str, customer: &str, answer: &Answer) -> Result<(), DbError> {
    let mut client = deps.db.get().await?;
    let tx = client.transaction();
    customers::lock(&tx, customer).await?;
    let stored = customers::load(&tx, customer).await?;
    let mut state = stored.state.clone();
    let Some(known) = state.records.iter_mut().find(|record| record.id == id) else {
        return Ok(());
    };
    if known.items.is_none() {
        take_in(known, answer);
    }
    let users = customers::save(&tx, customer, &stored, &state).await?;
    for user in users {
        let had = stored.users.contains(&user);
        let policy = &deps.config.stripe.policy;
        profiles::refresh(&tx, user, had, policy, deps.clock.now()).await?;
    }
    tx.commit().await?;
    Ok(())
}

fn take_in(known: &mut Record, answer: &Answer) {
    if let Answer::Subscription(told, at) = answer {
        let basis = Basis::Fetch(*at);
        match Record::from_subscription(&known.id, &known.customer, told, basis) {
            Ok(heard)
                if known.standing_of(&heard) == Standing::Newer
                    && !known.may_be_later_than(&heard) =>
            {
                known.absorb(heard);
            }
            _ => (known.items, known.pause) = (Some(told.sold()), told.pause()),
        }
        return;
    }
    // Stripe does not have it: the stored price is used.
    known.items = Some(known.price.clone().into_iter().collect());
}

/// Recomputes every plan that differs.
async fn follow(deps: &Deps) -> Result<(), DbError> {
    let (policy, mut after) = (&deps.config.stripe.policy, Uuid::nil());
    let mut client = deps.db.get().await?;
    loop {
        let page = profiles::subscribed(&client, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.user;
        for found in &page {
            let due = Entitlement::of(&found.records, policy, deps.clock.now());
            if found.plan_id.as_deref() == Some(due.plan_id()) {
                continue;
            }
            if let Err(error) = refresh(deps, &mut client, found.user).await {
                if error.is_unavailable() {
                    return Err(error);
                }
                tracing::error!(user = %UserHash::of(found.user), %error, "the plan of a user cannot follow");
                continue;
            }
            tracing::info!(
                user = %UserHash::of(found.user),
                plan = due.plan_id(),
                "the plan follows what the user's subscriptions are for"
            );
        }
    }
}

async fn refresh(deps: &Deps, client: &mut Client, user: Uuid) -> Result<(), DbError> {
    let tx = client.transaction();
    profiles::refresh(&tx, user, true, &deps.config.stripe.policy, deps.clock.now()).await?;
    tx.commit().await
}
