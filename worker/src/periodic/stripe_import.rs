//! Reads every subscription and customer from Stripe once, for a deployment
//! whose subscribers were created by another service: Stripe no longer has
//! their events, and their metadata may name no user.
//!
//! Contract: by command only, one at a time over the whole fleet. Resumable:
//! the progress is stored after each page; reading a page twice changes
//! nothing. No mails are sent and no plan is removed: only users who have
//! access now are changed. Rows that Postgres refuses or that belong to no
//! known user are reported at the end and do not block the others.

use std::collections::BTreeMap;
use std::time::Duration;

use regimen_common::billing::entitlement::{Access, Entitlement};
use regimen_common::billing::object::{Subscription, customer_user};
use regimen_common::billing::record::{Basis, Record, Standing};
use regimen_common::billing::state::{CustomerState, Link, LinkSource};
use regimen_common::billing::verdict::{Answer, Question};
use regimen_common::db::billing::backfill::{self, Occasion, Place};
use regimen_common::db::billing::{customers, profiles};
use regimen_common::db::{DbError, Transaction};
use regimen_common::stripe::StripeError;
use serde_json::Value;

use super::backfill::{BackfillError, HOLD};
use crate::deps::Deps;
use crate::stripe::Page;

/// Between two pages, to leave most of Stripe's limit (100 reads per second in live mode,
/// 25 in test mode) to others.
const PACE: Duration = Duration::from_millis(200);
/// Requests for one subscription whose events are being applied at the same time.
const ROUNDS: usize = 4;

/// The lists that are read, in this order: subscriptions include their customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Subscriptions,
    Customers,
}

impl List {
    const ALL: [Self; 2] = [Self::Subscriptions, Self::Customers];

    fn name(self) -> &'static str {
        match self {
            Self::Subscriptions => "subscriptions",
            Self::Customers => "customers",
        }
    }

    fn query(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Subscriptions => &[("status", "all"), ("expand[]", "data.customer")],
            Self::Customers => &[],
        }
    }
}

/// The result of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Objects read since the run began or continued.
    pub looked_at: u64,
    /// Subscriptions of known users.
    pub placed: u64,
    /// Live subscriptions without a known user: their customer, by their id.
    pub unplaced: BTreeMap<String, String>,
    /// Objects that could not be written, by id, and why.
    pub refused: BTreeMap<String, String>,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Another process is reading from Stripe.
    NotNow,
    /// Everything was read.
    Complete(Imported),
    /// The process has to end; the next run continues from here.
    BrokenOff(Imported),
}

/// Reads everything that is left; `tell` is called after each page.
///
/// # Errors
/// Stripe or Postgres failed; the next run continues from here.
pub async fn run(deps: &Deps, tell: &(dyn Fn(&str) + Sync)) -> Result<Outcome, BackfillError> {
    let holder = deps.config.claim.worker_id.as_str();
    let client = deps.db.get().await?;
    if !backfill::begin(&client, holder, Occasion::Asked, HOLD).await? {
        return Ok(Outcome::NotNow);
    }
    drop(client);
    let mut imported = Imported::default();
    let read = read_all(deps, holder, &mut imported, tell);
    let read = deps.shutdown.drain.run_until_cancelled(read).await;
    let client = deps.db.get().await?;
    backfill::cancellation(&client, holder).await?;
    match read {
        Some(Ok(())) => Ok(Outcome::Complete(imported)),
        Some(Err(error)) => Err(error),
        None => Ok(Outcome::BrokenOff(imported)),
    }
}

async fn read_all(
    deps: &Deps,
    holder: &str,
    imported: &mut Imported,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<(), BackfillError> {
    let client = deps.db.get().await?;
    let place = backfill::place(&client).await?;
    drop(client);
    let under_way = place.and_then(|Place { list, after }| {
        let index = List::ALL.iter().position(|known| known.name() == list)?;
        tell(&format!("going on with the {list} after {after}"));
        Some((index, after))
    });
    let (first, mut after) = under_way.map_or((0, None), |(index, after)| (index, Some(after)));
    for list in &List::ALL[first..] {
        read_list(deps, holder, *list, after.take(), imported, tell).await?;
    }
    let client = deps.db.get().await?;
    backfill::set_place(&client, holder, None).await?;
    Ok(())
}

async fn read_list(
    deps: &Deps,
    holder: &str,
    list: List,
    mut after: Option<String>,
    imported: &mut Imported,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<(), BackfillError> {
    let mut pace = tokio::time::interval(PACE);
    loop {
        pace.tick().await;
        let path = format!("/{}", list.name());
        let Page { data, has_more, made_at } =
            deps.stripe.page(&path, list.query(), after.as_deref()).await?;
        let client = deps.db.get().await?;
        if !backfill::hold_on(&client, holder, HOLD).await? {
            return Err(BackfillError::Overtaken);
        }
        drop(client);
        let last = data.last().and_then(|object| object["id"].as_str()).map(str::to_owned);
        for object in &data {
            imported.looked_at += 1;
            take_in(deps, list, object, made_at, imported).await?;
        }
        match last {
            Some(last) if after.as_ref() != Some(&last) => {
                let client = deps.db.get().await?;
                let place = Place { list: list.name().to_owned(), after: last.clone() };
                backfill::set_place(&client, holder, Some(&place)).await?;
                after = Some(last);
            }
            // A repeated page would make the walk endless.
            _ if has_more => return Err(StripeError::Unreadable.into()),
            _ => {}
        }
        let (name, looked_at) = (list.name(), imported.looked_at);
        let unplaced = imported.unplaced.len();
        tell(&format!("{name}: {looked_at} objects read, {unplaced} subscriptions not placed"));
        if !has_more {
            return Ok(());
        }
    }
}

async fn take_in(
    deps: &Deps,
    list: List,
    object: &Value,
    made_at: i64,
    imported: &mut Imported,
) -> Result<(), BackfillError> {
    let Some(id) = object["id"].as_str() else { return Ok(()) };
    let written = match list {
        List::Subscriptions => subscription(deps, id, object, made_at, imported).await,
        List::Customers => customer(deps, id, object).await.map_err(BackfillError::Db),
    };
    match written {
        Err(BackfillError::Db(error)) if error.blames_a_row() => {
            tracing::error!(id, %error, "an object of Stripe's cannot be taken in");
            imported.refused.insert(id.to_owned(), error.to_string());
            Ok(())
        }
        other => other,
    }
}

/// A subscription as Stripe told it.
struct Told {
    subscription: Subscription,
    /// When, by Stripe's clock, in Unix seconds.
    made_at: i64,
    /// The customer's revision it was requested for; a page is requested for none.
    revision: Option<i64>,
}

async fn subscription(
    deps: &Deps,
    id: &str,
    object: &Value,
    made_at: i64,
    imported: &mut Imported,
) -> Result<(), BackfillError> {
    let holder = &object["customer"];
    let Some(customer) = holder["id"].as_str().or(holder.as_str()) else { return Ok(()) };
    let subscription = Subscription::from_value(object);
    let mut told = Told { subscription, made_at, revision: None };
    for _ in 0..ROUNDS {
        let Some(revision) = place(deps, id, (customer, holder), &told, imported).await? else {
            return Ok(());
        };
        match deps.stripe.answer(&Question::Subscription(id.to_owned())).await? {
            Answer::Subscription(subscription, made_at) => {
                told = Told { subscription: *subscription, made_at, revision: Some(revision) };
            }
            Answer::Customer(_) | Answer::Missing | Answer::Untold => return Ok(()),
        }
    }
    let busy = "its events were being applied all the time, and what they say stands";
    imported.refused.insert(id.to_owned(), busy.to_owned());
    Ok(())
}

/// Merges a subscription as `told`, unless what is known may be later: then returns the
/// customer's revision, for which it is to be requested.
async fn place(
    deps: &Deps,
    id: &str,
    (customer, holder): (&str, &Value),
    told: &Told,
    imported: &mut Imported,
) -> Result<Option<i64>, DbError> {
    let basis = Basis::Fetch(told.made_at);
    let heard = match Record::from_subscription(id, customer, &told.subscription, basis) {
        Ok(heard) => heard,
        Err(error) => {
            imported.refused.insert(id.to_owned(), error.to_string());
            return Ok(None);
        }
    };
    let mut client = deps.db.get().await?;
    let tx = client.transaction();
    customers::lock(&tx, customer).await?;
    let stored = customers::load(&tx, customer).await?;
    let mut state = stored.state.clone();
    link(&mut state, holder);
    match state.records.iter_mut().find(|record| record.id == id) {
        Some(known) if known.standing_of(&heard) == Standing::Newer => {
            if told.revision != Some(stored.revision) && known.may_be_later_than(&heard) {
                return Ok(Some(stored.revision));
            }
            known.absorb(heard);
        }
        Some(_) => {}
        None => state.records.push(heard),
    }
    let (policy, now) = (&deps.config.stripe.policy, deps.clock.now().timestamp());
    let record = state.records.iter().find(|record| record.id == id);
    let live = record.is_some_and(|record| record.access(policy, now) != Access::None);
    match record.and_then(|record| state.user_of(record)) {
        Some(_) => imported.placed += 1,
        None if live => {
            imported.unplaced.insert(id.to_owned(), customer.to_owned());
        }
        None => {}
    }
    save(deps, &tx, customer, &stored, &state).await?;
    tx.commit().await?;
    Ok(None)
}

async fn customer(deps: &Deps, id: &str, object: &Value) -> Result<(), DbError> {
    if customer_user(object).is_none() {
        return Ok(());
    }
    let mut client = deps.db.get().await?;
    let tx = client.transaction();
    customers::lock(&tx, id).await?;
    let stored = customers::load(&tx, id).await?;
    let mut state = stored.state.clone();
    link(&mut state, object);
    save(deps, &tx, id, &stored, &state).await?;
    tx.commit().await
}

/// Links a customer to the user in its metadata.
fn link(state: &mut CustomerState, customer: &Value) {
    let made_at = customer["created"].as_i64().unwrap_or(0);
    let told =
        customer_user(customer).map(|user| Link { source: LinkSource::Customer, made_at, user });
    state.link = state.link.max(told);
}

async fn save(
    deps: &Deps,
    tx: &Transaction<'_>,
    customer: &str,
    stored: &customers::Stored,
    state: &CustomerState,
) -> Result<(), DbError> {
    let (policy, now) = (&deps.config.stripe.policy, deps.clock.now());
    for user in customers::save(tx, customer, stored, state).await? {
        let records = customers::records_of_user(tx, user).await?;
        // A plan that an operator gave to a former subscriber stays.
        if !Entitlement::of(&records, policy, now).paid_by.is_empty() {
            profiles::refresh(tx, user, stored.users.contains(&user), policy, now).await?;
        }
    }
    Ok(())
}
