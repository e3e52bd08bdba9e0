//! SQL of a user's monthly generations.
//!
//! The month is the calendar month in UTC. A generation is counted when it is
//! accepted, in the same transaction as its jobs. The database refunds it when
//! one of them fails because of a fault of the service.

use crate::db::GenericClient;
use chrono::{DateTime, Utc};
use futures_util::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::DbError;

/// A user's month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month {
    /// The generations that the user's plan allows; the free plan's number without one.
    pub allowed: i64,
    /// The counted generations.
    pub used: i64,
    /// When the count restarts from zero.
    pub ends_at: DateTime<Utc>,
}

impl Month {
    fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            allowed: row.try_get("allowed")?,
            used: row.try_get("used")?,
            ends_at: row.try_get("ends_at")?,
        })
    }

    /// The remaining generations.
    pub fn left(&self) -> i64 {
        (self.allowed - self.used).max(0)
    }
}

/// The month of user `$1`, as the CTE `month`.
macro_rules! month {
    () => {
        "with start as (
             select date_trunc('month', now() at time zone 'utc') as starts
         ), month as (
             select coalesce(
                        (select plan.monthly_ai_generations from public.profiles profile
                         join public.plans plan on plan.id = profile.plan_id
                         where profile.id = $1),
                        (select monthly_ai_generations from public.plans where id = 'free'),
                        0)::bigint as allowed,
                    (select count(*) from regimen.generations
                     where user_id = $1 and given_back_at is null
                       and at >= start.starts at time zone 'utc') as used,
                    (start.starts + interval '1 month') at time zone 'utc' as ends_at
             from start
         )"
    };
}

const MONTH: &str = concat!("-- month of generations\n", month!(), " select * from month");

const LOCK: &str = "-- lock profile to count
    select 1 from public.profiles where id = $1 for no key update";

const COUNT: &str = concat!(
    "-- count generation\n",
    month!(),
    ", counted as (
         insert into regimen.generations (id, user_id, at)
         select $2, $1, now() from month where not $3 or used < allowed
         returning id
     )
     select month.*, exists (select from counted) as counted from month"
);

/// The statements of [`take`].
pub(super) const TAKE: [&str; 2] = [LOCK, COUNT];

/// The user's month so far.
///
/// # Errors
/// Postgres refused.
pub async fn month(client: &impl GenericClient, user_id: Uuid) -> Result<Month, DbError> {
    let statement = client.prepare_cached(MONTH).await?;
    Month::from_row(&client.query_one(&statement, &[&user_id]).await?)
}

/// Counts a generation if the month has one left, or if that is not `enforced`; returns
/// the month before it, and whether it was counted.
///
/// Call it in a transaction with an existing profile: its row is locked until the end, so
/// that requests of one user count one after another.
///
/// # Errors
/// Postgres refused.
pub async fn take(
    tx: &impl GenericClient,
    user_id: Uuid,
    generation_id: Uuid,
    enforced: bool,
) -> Result<(Month, bool), DbError> {
    let lock = tx.prepare_cached(LOCK).await?;
    let count = tx.prepare_cached(COUNT).await?;
    let of_user: [&(dyn ToSql + Sync); 1] = [&user_id];
    let of_generation: [&(dyn ToSql + Sync); 3] = [&user_id, &generation_id, &enforced];
    // The second one sees what was committed while the first one waited.
    let (_, row) = try_join!(tx.query_opt(&lock, &of_user), tx.query_one(&count, &of_generation))?;
    Ok((Month::from_row(&row)?, row.try_get("counted")?))
}

/// Gives back the user's generations of this month; returns how many.
///
/// # Errors
/// Nothing was changed.
pub async fn give_back_month(client: &impl GenericClient, user_id: Uuid) -> Result<u64, DbError> {
    let statement = client
        .prepare_cached(
            "-- give back month
             update regimen.generations set given_back_at = now()
             where user_id = $1 and given_back_at is null
               and at >= date_trunc('month', now() at time zone 'utc') at time zone 'utc'",
        )
        .await?;
    client.execute(&statement, &[&user_id]).await
}

/// The cost of the user's jobs since the month began, millionths of a US dollar.
///
/// # Errors
/// Postgres refused.
pub async fn month_cost(client: &impl GenericClient, user_id: Uuid) -> Result<i64, DbError> {
    let statement = client
        .prepare_cached(
            "-- month cost
             select coalesce(sum(regimen.believable_micros(cost_micros)), 0)::bigint
             from regimen.ai_usage
             where user_id = $1
               and at >= date_trunc('month', now() at time zone 'utc') at time zone 'utc'",
        )
        .await?;
    Ok(client.query_one(&statement, &[&user_id]).await?.try_get(0)?)
}
