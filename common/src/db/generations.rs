//! SQL of the monthly generations a user's plan allows.
//!
//! The month is the calendar's, in UTC. A generation is counted when it is
//! accepted, in the same transaction as its jobs; the database gives it back
//! when one of them fails for our reasons.

use chrono::{DateTime, Utc};
use deadpool_postgres::GenericClient;
use uuid::Uuid;

use super::DbError;

/// A user's month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month {
    /// What the user's plan allows; the free plan's number without one.
    pub allowed: i64,
    /// What is counted.
    pub used: i64,
    /// When the count starts again from zero.
    pub ends_at: DateTime<Utc>,
}

impl Month {
    /// What is left.
    pub fn left(&self) -> i64 {
        (self.allowed - self.used).max(0)
    }
}

/// The user's month so far.
///
/// # Errors
/// Postgres refused.
pub async fn month(client: &impl GenericClient, user_id: Uuid) -> Result<Month, DbError> {
    let statement = client
        .prepare_cached(
            "-- month of generations
             with month as (
                 select date_trunc('month', now() at time zone 'utc') as starts
             )
             select coalesce(
                        (select plan.monthly_ai_generations from public.profiles profile
                         join public.plans plan on plan.id = profile.plan_id
                         where profile.id = $1),
                        (select monthly_ai_generations from public.plans where id = 'free'),
                        0)::bigint as allowed,
                    (select count(*) from regimen.generations
                     where user_id = $1 and given_back_at is null
                       and at >= month.starts at time zone 'utc') as used,
                    (month.starts + interval '1 month') at time zone 'utc' as ends_at
             from month",
        )
        .await?;
    let row = client.query_one(&statement, &[&user_id]).await?;
    Ok(Month {
        allowed: row.try_get("allowed")?,
        used: row.try_get("used")?,
        ends_at: row.try_get("ends_at")?,
    })
}

/// Counts a generation if the month has one left; the month before it, and
/// whether it was counted.
///
/// Call in a transaction, with the profile there: its row is locked until the
/// end, so that requests of one user count one after the other.
///
/// # Errors
/// Postgres refused.
pub async fn take(
    tx: &impl GenericClient,
    user_id: Uuid,
    generation_id: Uuid,
    enforced: bool,
) -> Result<(Month, bool), DbError> {
    let statement = tx
        .prepare_cached(
            "-- lock profile to count
             select 1 from public.profiles where id = $1 for no key update",
        )
        .await?;
    tx.query_opt(&statement, &[&user_id]).await?;
    let month = month(tx, user_id).await?;
    if enforced && month.left() == 0 {
        return Ok((month, false));
    }
    let statement = tx
        .prepare_cached(
            "-- count generation
             insert into regimen.generations (id, user_id, at) values ($1, $2, now())",
        )
        .await?;
    let counted = tx.execute(&statement, &[&generation_id, &user_id]).await?;
    Ok((month, counted == 1))
}

/// What the user's jobs cost since the month began, millionths of a US dollar.
///
/// # Errors
/// Postgres refused.
pub async fn month_cost(client: &impl GenericClient, user_id: Uuid) -> Result<i64, DbError> {
    let statement = client
        .prepare_cached(
            "-- month cost
             select coalesce(sum(cost_micros), 0)::bigint from regimen.ai_usage
             where user_id = $1
               and at >= date_trunc('month', now() at time zone 'utc') at time zone 'utc'",
        )
        .await?;
    Ok(client.query_one(&statement, &[&user_id]).await?.try_get(0)?)
}
