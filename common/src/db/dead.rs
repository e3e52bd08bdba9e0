//! Everything that was given up, of all kinds in one list, and trying it again.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{DbError, GenericClient};
use crate::named::named;

/// What can be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadKind {
    /// A job that failed and was not retried.
    Job,
    /// A callback.
    Callback,
    /// An event of Stripe's, given up or of nobody we know.
    StripeEvent,
    /// A mail about a payment.
    Mail,
}

named!(DeadKind, "kind of dead letter", {
    Job => "job",
    Callback => "callback",
    StripeEvent => "stripe_event",
    Mail => "mail",
});

/// Something that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// What.
    pub kind: &'static str,
    /// Which: the id of the job or of the event.
    pub id: String,
    /// Whose, where that is known.
    pub user_id: Option<Uuid>,
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub why: String,
}

/// Each along an index of its own; the newest of a kind first.
const JOBS: &str = "-- dead jobs
    select id::text, user_id, finished_at as at,
        error_code || coalesce(': ' || error_detail, '') as why
    from regimen.jobs j
    where state in ('failed', 'expired', 'cancelled') and state = 'failed'
        and not exists (select from regimen.job_retries r where r.job_id = j.id offset 0)
    order by j.id desc limit $1";
const CALLBACKS: &str = "-- dead callbacks
    select job_id::text as id, user_id, settled_at as at,
        'to ' || host || coalesce(': ' || error, ': status ' || http_status, '') as why
    from regimen.callbacks where state = 'dead' order by settled_at desc limit $1";
const STRIPE_EVENTS: &str = "-- dead stripe events
    select id, null::uuid as user_id, received_at as at,
        state || ', ' || type || coalesce(': ' || error_code, '') || coalesce(': ' || error_detail, '')
            as why
    from (
        (select * from regimen.stripe_events where state in ('dead', 'unresolved', 'mismatched')
             and state between 'dead' and 'dead' order by state, received_at desc limit $1)
        union all
        (select * from regimen.stripe_events where state in ('dead', 'unresolved', 'mismatched')
             and state between 'unresolved' and 'unresolved'
         order by state, received_at desc limit $1)
    ) e order by received_at desc limit $1";
const MAILS: &str = "-- dead mails
    select event_id as id, user_id, created_at as at, kind || coalesce(': ' || error, '') as why
    from regimen.billing_notices where mail_state = 'failed'
    order by created_at desc limit $1";

/// Up to `limit` of each of `kinds`, the newest first.
///
/// # Errors
/// Postgres failed.
pub async fn letters(
    client: &impl GenericClient,
    kinds: &[DeadKind],
    limit: i64,
) -> Result<Vec<DeadLetter>, DbError> {
    let mut letters = Vec::new();
    for kind in kinds {
        let sql = match kind {
            DeadKind::Job => JOBS,
            DeadKind::Callback => CALLBACKS,
            DeadKind::StripeEvent => STRIPE_EVENTS,
            DeadKind::Mail => MAILS,
        };
        let statement = client.prepare_cached(sql).await?;
        for row in client.query(&statement, &[&limit]).await? {
            letters.push(DeadLetter {
                kind: kind.as_str(),
                id: row.try_get("id")?,
                user_id: row.try_get("user_id")?,
                at: row.try_get("at")?,
                why: row.try_get::<_, Option<String>>("why")?.unwrap_or_default(),
            });
        }
    }
    letters.sort_by_key(|letter| std::cmp::Reverse(letter.at));
    Ok(letters)
}

/// Callbacks that were given up, for [`replay_callback`].
///
/// # Errors
/// Postgres failed.
pub async fn dead_callbacks(client: &impl GenericClient, limit: i64) -> Result<Vec<Uuid>, DbError> {
    let statement = client
        .prepare_cached(
            "-- callbacks to replay
             select job_id from regimen.callbacks where state = 'dead'
             order by settled_at desc limit $1",
        )
        .await?;
    let rows = client.query(&statement, &[&limit]).await?;
    rows.iter().map(|row| Ok(row.try_get("job_id")?)).collect()
}

/// Has the callback of a job sent again, whatever became of it; its receiver knows it
/// by its id. False when there is none, or it is not settled.
///
/// # Errors
/// Nothing was changed.
pub async fn replay_callback(client: &impl GenericClient, job: Uuid) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- replay callback
             update regimen.callbacks
             set state = 'waiting', settled_at = null, attempts = 0, run_at = now(),
                 http_status = null, error = null, revision = revision + 1
             where job_id = $1 and state <> 'waiting'",
        )
        .await?;
    Ok(client.execute(&statement, &[&job]).await? == 1)
}

/// Has a mail that was given up sent again, as a new one with the same Message-ID. False
/// if the event has no such mail.
///
/// # Errors
/// Nothing was changed.
pub async fn replay_mail(client: &impl GenericClient, event: &str) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- replay mail
             update regimen.billing_notices
             set mail_state = 'waiting', attempts = 0, run_at = now(), dispatched_at = null,
                 error = null
             where event_id = $1 and mail_state = 'failed'",
        )
        .await?;
    Ok(client.execute(&statement, &[&event]).await? == 1)
}
