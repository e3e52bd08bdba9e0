//! The transaction that applies an event, and the queries to Stripe before it.
//!
//! No transaction is open while Stripe is queried. Instead, a reply counts only
//! if the customer's revision has not changed meanwhile; otherwise everything
//! is read again.

use std::collections::{BTreeMap, BTreeSet};

use regimen_common::billing::apply::apply;
use regimen_common::billing::entitlement::Entitlement;
use regimen_common::billing::event::Event;
use regimen_common::billing::record::Record;
use regimen_common::billing::state::CustomerState;
use regimen_common::billing::verdict::{
    Alert, Answer, Answers, BillingNotice, Question, Settlement, Verdict, customer_of,
};
use regimen_common::db::billing::claims::{self, ClaimedEvent, Ending};
use regimen_common::db::billing::customers::{self, Stored};
use regimen_common::db::billing::events::EventState;
use regimen_common::db::billing::notices::{self, Mail};
use regimen_common::db::billing::profiles::{self, Refreshed};
use regimen_common::db::{DbError, erasure};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::handler::EventError;
use crate::deps::Deps;
use crate::mail::in_app_text;

/// Tries of the same event before it goes to the back of the queue.
const ROUNDS: usize = 6;
/// Older notices, in seconds, are shown in the app but not mailed: Stripe retries
/// deliveries for three days.
const MAILABLE: i64 = 3 * 86_400;

/// The outcome of an event.
#[derive(Debug, Default)]
pub struct Settled {
    /// The state it ended in; `None` when another worker had ended it.
    pub state: Option<EventState>,
    /// Alerts for operators.
    pub alerts: Vec<Alert>,
    /// Users with more than one paid subscription.
    pub paid_twice: Vec<(Uuid, Vec<String>)>,
    /// Whether a mail waits to be sent.
    pub mail: bool,
}

/// Replies of Stripe, and the revision of the customer they were requested for.
#[derive(Default)]
struct Told {
    answers: Answers,
    revision: i64,
}

enum Round {
    Settled(Settled),
    Ask { questions: Vec<Question>, needed: bool },
}

/// Applies an event.
///
/// # Errors
/// Nothing was written.
pub async fn settle(
    deps: &Deps,
    claimed: &ClaimedEvent,
    event: &Event,
) -> Result<Settled, EventError> {
    let mut told = Told::default();
    for _ in 0..ROUNDS {
        match round(deps, claimed, event, &mut told).await? {
            Round::Settled(settled) => return Ok(settled),
            Round::Ask { questions, needed } => ask(deps, questions, needed, &mut told).await?,
        }
    }
    Err(EventError::Contended)
}

async fn ask(
    deps: &Deps,
    questions: Vec<Question>,
    needed: bool,
    told: &mut Told,
) -> Result<(), EventError> {
    for question in questions {
        let answer = match deps.stripe.answer(&question).await {
            Ok(answer) => answer,
            Err(error) if needed => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "going on without Stripe's answer");
                Answer::Untold
            }
        };
        told.answers.insert(question, answer);
    }
    Ok(())
}

/// One try of the event under its customer's lock.
async fn round(
    deps: &Deps,
    claimed: &ClaimedEvent,
    event: &Event,
    told: &mut Told,
) -> Result<Round, EventError> {
    let mut client = deps.db.get().await?;
    let tx = client.transaction();
    // Does not wait for the lock: a customer with many events must not use up the pool.
    tx.batch_execute("-- impatient locks\nset local lock_timeout = '3s'").await?;
    let customer = customer_of(event, &told.answers);
    if let Some(customer) = &customer {
        customers::lock(&tx, customer).await.map_err(contended)?;
    }
    if !claims::lock(&tx, &claimed.id).await.map_err(contended)? {
        return Ok(Round::Settled(Settled::default()));
    }
    let stored = match &customer {
        Some(customer) => customers::load(&tx, customer).await?,
        None => Stored::default(),
    };
    if stored.revision != told.revision {
        // The customer changed meanwhile: only replies that never change still count.
        told.answers.retain(|question, _| matches!(question, Question::Charge(_)));
        told.revision = stored.revision;
    }
    match apply(&stored.state, event, &told.answers) {
        Verdict::Ask { questions, needed } => Ok(Round::Ask { questions, needed }),
        Verdict::Settled(settlement) => {
            let settled = write(deps, &tx, claimed, event, &stored, *settlement).await?;
            tx.commit().await?;
            Ok(Round::Settled(settled))
        }
    }
}

fn contended(error: DbError) -> EventError {
    if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
        return EventError::Contended;
    }
    error.into()
}

async fn write(
    deps: &Deps,
    tx: &regimen_common::db::Transaction<'_>,
    claimed: &ClaimedEvent,
    event: &Event,
    stored: &Stored,
    settlement: Settlement,
) -> Result<Settled, EventError> {
    let customer = settlement.customer.as_deref();
    let (policy, now) = (&deps.config.stripe.policy, deps.clock.now());
    let foreign = |state: &CustomerState, record: &Record| {
        record.is_foreign(policy) && state.user_of(record).is_some()
    };
    let news_of_foreign = settlement.state.records.iter().any(|record| {
        let known = stored.state.record(&record.id);
        foreign(&settlement.state, record)
            && !known.is_some_and(|known| foreign(&stored.state, known))
    });
    let mut paid_before = BTreeMap::new();
    for user in settlement.state.records.iter().filter_map(|r| settlement.state.user_of(r)) {
        let records = customers::records_of_user(tx, user).await?;
        paid_before.insert(user, Entitlement::of(&records, policy, now).paid_by.len());
    }
    if let Some(customer) = customer.filter(|_| settlement.confirmed) {
        customers::void_replies(tx, customer).await?;
    }
    let mut users = match customer {
        Some(customer) => customers::save(tx, customer, stored, &settlement.state).await?,
        None => BTreeSet::new(),
    };
    users.extend(settlement.notice.as_ref().map(|notice| notice.user));
    // Of this event: another user of the customer's may be gone for long.
    let concerned = concerned(event, stored, &settlement);
    let mut homeless = false;
    let mut paid_twice = Vec::new();
    for user in users {
        let had = stored.users.contains(&user);
        let refreshed = profiles::refresh(tx, user, had, policy, now).await?;
        if refreshed == Refreshed::Missing && concerned.contains(&user) {
            homeless = true;
            erasure::look_again(tx, user).await?;
        }
        if let Refreshed::Followed(due) = refreshed
            && due.paid_by.len() > 1
            && paid_before.get(&user).is_some_and(|&before| before < 2)
        {
            paid_twice.push((user, due.paid_by));
        }
    }
    let mut mail = false;
    if let Some(notice) = settlement.notice.as_ref().filter(|_| !homeless) {
        mail = tell(deps, tx, claimed, event, notice).await?;
    }
    if let Some(customer) = customer.filter(|_| !homeless && !settlement.unresolved) {
        claims::wake_unresolved(tx, customer).await?;
    }
    let (state, reason) = match (settlement.unresolved, homeless, settlement.handled) {
        (true, _, _) => (EventState::Unresolved, Some("unknown_user")),
        (false, true, _) => (EventState::Unresolved, Some("no_profile")),
        (false, false, true) => (EventState::Applied, None),
        (false, false, false) => (EventState::Ignored, None),
    };
    claims::settle(tx, &claimed.id, &Ending { state, reason, customer }).await?;
    let mut alerts = settlement.alerts;
    if news_of_foreign {
        alerts.push(Alert::ForeignPrice);
    }
    if !paid_twice.is_empty() {
        alerts.push(Alert::SecondSubscription);
    }
    if reason == Some("no_profile") {
        alerts.push(Alert::UnknownUser);
    }
    Ok(Settled { state: Some(state), alerts, paid_twice, mail })
}

/// The users whose notice, subscription or link this event is about.
fn concerned(event: &Event, stored: &Stored, settlement: &Settlement) -> BTreeSet<Uuid> {
    let (before, after) = (&stored.state, &settlement.state);
    let mut users: BTreeSet<Uuid> = settlement.notice.iter().map(|notice| notice.user).collect();
    if before.link != after.link {
        users.extend(after.user());
    }
    let own = event.object_id();
    let changed = after.records.iter().filter(|record| {
        Some(&record.id) == own.as_ref() || before.record(&record.id) != Some(*record)
    });
    users.extend(changed.filter_map(|record| after.user_of(record)));
    users
}

async fn tell(
    deps: &Deps,
    tx: &regimen_common::db::Transaction<'_>,
    claimed: &ClaimedEvent,
    event: &Event,
    notice: &BillingNotice,
) -> Result<bool, EventError> {
    let late = deps.clock.now().timestamp() - event.created > MAILABLE;
    let mail = match (&deps.mailer, late) {
        (None, _) => Mail::Off,
        (Some(_), true) => Mail::Late,
        (Some(_), false) => Mail::Wanted,
    };
    let added = notices::add(tx, &claimed.id, notice, &in_app_text(notice), mail).await?;
    Ok(added && mail == Mail::Wanted)
}
