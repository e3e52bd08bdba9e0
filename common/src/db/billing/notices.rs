//! SQL of notices to users: one per event, in the app's own `notifications` and
//! as a mail to send.

use std::time::Duration;

use crate::db::{Client, GenericClient, Transaction};
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{seconds, time};
use crate::billing::verdict::{BillingNotice, NoticeKind};
use crate::db::DbError;
use crate::db::batch::{self, Batch, Outcome, readable};
use crate::db::jobs::read::named;

/// The mail of a new notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mail {
    /// To be sent.
    Wanted,
    /// No mail server is configured.
    Off,
    /// The notice is too old to be mailed.
    Late,
}

impl Mail {
    fn state(self) -> &'static str {
        match self {
            Self::Wanted => "waiting",
            Self::Off => "off",
            Self::Late => "late",
        }
    }
}

/// Writes a notice and shows it in the app; false if the event's notice was written
/// before. The ids of the app's row are derived from the event's, so that even restored
/// tables do not duplicate it.
///
/// # Errors
/// Postgres failed.
pub async fn add(
    tx: &impl GenericClient,
    event_id: &str,
    notice: &BillingNotice,
    message: &str,
    mail: Mail,
) -> Result<bool, DbError> {
    let statement = tx
        .prepare_cached(
            "-- add notice
             insert into regimen.billing_notices (event_id, kind, user_id, amount, currency, url,
                 due_at, mail_state)
             values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict (event_id) do nothing",
        )
        .await?;
    let due_at = notice.at.and_then(time);
    let added = tx
        .execute(
            &statement,
            &[
                &event_id,
                &notice.kind.as_str(),
                &notice.user,
                &notice.amount,
                &notice.currency,
                &notice.url,
                &due_at,
                &mail.state(),
            ],
        )
        .await?;
    if added == 0 {
        return Ok(false);
    }
    let statement = tx
        .prepare_cached(
            "-- show notice
             insert into public.notifications (id, recipient_id, type, entity_id, entity_type,
                 message)
             values ($1, $2, $3, $4, 'billing', $5)
             on conflict (id) do nothing",
        )
        .await?;
    let id = app_id(event_id, "notification");
    let entity = app_id(event_id, "event");
    tx.execute(&statement, &[&id, &notice.user, &notice.kind.as_str(), &entity, &message]).await?;
    Ok(true)
}

/// A uuid of the app's, derived from a Stripe id.
fn app_id(event_id: &str, what: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("stripe:{what}:{event_id}").as_bytes())
}

/// A notice as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its event.
    pub event_id: String,
    /// What it is about.
    pub kind: String,
    /// The state of its mail.
    pub mail_state: String,
    /// Tries to send the mail.
    pub attempts: i32,
    /// Why the latest one failed.
    pub error: Option<String>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When the mail is tried next, while it waits.
    pub next_at: Option<DateTime<Utc>>,
    /// When the mail was sent.
    pub sent_at: Option<DateTime<Utc>>,
}

/// The newest notices of a user.
///
/// # Errors
/// Postgres failed.
pub async fn of_user(
    client: &impl GenericClient,
    user: Uuid,
    limit: i64,
) -> Result<Vec<Told>, DbError> {
    let statement = client
        .prepare_cached(
            "-- notices of user
             with own as materialized (
                 select * from regimen.billing_notices where user_id = $1
             )
             select event_id, kind, mail_state, attempts, error, created_at,
                 case when mail_state = 'waiting' then run_at end as next_at, sent_at
             from own order by created_at desc limit $2",
        )
        .await?;
    let rows = client.query(&statement, &[&user, &limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(Told {
                event_id: row.try_get("event_id")?,
                kind: row.try_get("kind")?,
                mail_state: row.try_get("mail_state")?,
                attempts: row.try_get("attempts")?,
                error: row.try_get("error")?,
                created_at: row.try_get("created_at")?,
                next_at: row.try_get("next_at")?,
                sent_at: row.try_get("sent_at")?,
            })
        })
        .collect()
}

/// A mail that this worker sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedMail {
    /// Its event.
    pub event_id: String,
    /// Its content.
    pub notice: BillingNotice,
    /// The address; absent when the user or the address is gone.
    pub address: Option<String>,
    /// The user's name, if known.
    pub name: Option<String>,
    /// Claims so far, this one included; it identifies the claim.
    pub attempts: i32,
}

/// Mails to claim.
#[derive(Debug, Clone, Copy)]
pub struct DueMails<'a> {
    /// The highest number, oldest first.
    pub limit: i64,
    /// The duration of the claim.
    pub hold: Duration,
    /// Mails to leave out, by their events.
    pub quarantine: &'a [String],
}

/// Claims the due mails of the given events, or any when `None`. A mail of an unknown
/// kind is reported and left to a newer release: its claim expires.
///
/// # Errors
/// Postgres failed.
pub async fn claim_mails(
    client: &mut Client,
    event_ids: Option<&[String]>,
    due: &DueMails<'_>,
) -> Result<Outcome<String, ClaimedMail>, DbError> {
    match event_ids {
        Some(ids) => batch::change(client, due, ids).await,
        None => batch::run(client, due).await,
    }
}

impl Batch for DueMails<'_> {
    type Key = String;
    type Done = ClaimedMail;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<String>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- find due mails
                 select event_id from regimen.billing_notices
                 where mail_state = 'waiting' and run_at <= now() and event_id <> all ($2::text[])
                 order by run_at limit $1 for update skip locked",
            )
            .await?;
        let rows = tx.query(&statement, &[&self.limit, &self.quarantine]).await?;
        rows.iter().map(|row| Ok(row.try_get("event_id")?)).collect()
    }

    async fn change(
        &self,
        tx: &Transaction<'_>,
        event_ids: &[String],
    ) -> Result<Vec<ClaimedMail>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- claim mails
                 with named as materialized (
                     -- By id alone: no statistics lead elsewhere.
                     select event_id, mail_state, run_at from regimen.billing_notices
                     where event_id = any((select $1::text[])::text[]) for update skip locked
                 ), due as (
                     select event_id from named
                     where mail_state = 'waiting' and run_at <= now() limit $2
                 ), claimed as (
                     update regimen.billing_notices n
                     set attempts = n.attempts + 1, run_at = now() + make_interval(secs => $3)
                     from due where n.event_id = due.event_id
                     returning n.*
                 )
                 select c.event_id, c.kind, c.user_id, c.amount, c.currency, c.url, c.due_at,
                     c.attempts, nullif(p.email, '') as email, p.full_name
                 from claimed c left join lateral (
                     -- `offset 0`: looked up for each, never joined with everybody's profiles.
                     select email, full_name from public.profiles where id = c.user_id offset 0
                 ) p on true",
            )
            .await?;
        let rows =
            tx.query(&statement, &[&event_ids, &self.limit, &self.hold.as_secs_f64()]).await?;
        Ok(readable("claim_mails", rows.iter().map(claimed)))
    }
}

fn claimed(row: &Row) -> Result<ClaimedMail, DbError> {
    let kind: NoticeKind = named(row, "kind")?;
    Ok(ClaimedMail {
        event_id: row.get("event_id"),
        notice: BillingNotice {
            kind,
            user: row.get("user_id"),
            amount: row.get("amount"),
            currency: row.get("currency"),
            url: row.get("url"),
            at: seconds(row.get("due_at")),
        },
        address: row.get("email"),
        name: row.get("full_name"),
        attempts: row.get("attempts"),
    })
}

/// The outcome of sending a mail.
#[derive(Debug, Clone)]
pub enum MailOutcome<'a> {
    /// The server accepted it.
    Delivered,
    /// Retry after this time.
    Later(Duration, &'a str),
    /// Permanently failed.
    Failed(&'a str),
}

/// Records the end of a claim; false when the claim is stale.
///
/// # Errors
/// Postgres failed.
pub async fn mail_ended(
    client: &impl GenericClient,
    mail: &ClaimedMail,
    sent: &MailOutcome<'_>,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- mail ended
             update regimen.billing_notices
             set mail_state = $3, error = $4, sent_at = case when $3 = 'sent' then now() end,
                 run_at = now() + make_interval(secs => $5), dispatched_at = null
             where event_id = $1 and attempts = $2
                 -- Not by the index of what waits, which a plan may take for empty.
                 and mail_state is not distinct from 'waiting'",
        )
        .await?;
    let (state, error, wait) = match sent {
        MailOutcome::Delivered => ("sent", None, 0.0),
        MailOutcome::Later(after, why) => ("waiting", Some(*why), after.as_secs_f64()),
        MailOutcome::Failed(why) => ("failed", Some(*why), 0.0),
    };
    let ended = client
        .execute(&statement, &[&mail.event_id, &mail.attempts, &state, &error, &wait])
        .await?;
    Ok(ended == 1)
}
