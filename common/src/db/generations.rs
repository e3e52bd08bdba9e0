//! SQL of a user's monthly generations.
//!
//! The month is the calendar month in UTC. A generation is counted when it is
//! accepted, in the same transaction as its jobs. The database refunds it when
//! one of them fails because of a fault of the service. Operators may give a user
//! more than the plan allows, for one month.

use crate::db::GenericClient;
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use super::DbError;

/// A user's month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month {
    /// The generations that the user's plan allows (the free plan's number without one),
    /// and those that operators gave for this month.
    pub allowed: i64,
    /// The counted generations.
    pub used: i64,
    /// When the count restarts from zero.
    pub ends_at: DateTime<Utc>,
}

impl Month {
    pub(super) fn from_row(row: &Row) -> Result<Self, DbError> {
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

/// The month of a user, given as an SQL expression, as a query.
macro_rules! month_of {
    ($user:literal) => {
        concat!(
            "select (coalesce(
                 (select plan.monthly_ai_generations from public.profiles profile
                  join public.plans plan on plan.id = profile.plan_id
                  where profile.id = ",
            $user,
            "),
                 (select monthly_ai_generations from public.plans where id = 'free'),
                 0) + coalesce(
                 (select number from regimen.extra_generations
                  where user_id = ",
            $user,
            " and month = this.month::date), 0))::bigint as allowed,
             (select count(*) from regimen.generations
              where user_id = ",
            $user,
            " and given_back_at is null
                and at >= this.month at time zone 'utc') as used,
             (this.month + interval '1 month') at time zone 'utc' as ends_at
             from (select date_trunc('month', now() at time zone 'utc') as month) this"
        )
    };
}
pub(super) use month_of;

const MONTH: &str = concat!("-- month of generations\n", month_of!("$1"));

/// The user's month so far.
///
/// # Errors
/// Postgres refused.
pub async fn month(client: &impl GenericClient, user_id: Uuid) -> Result<Month, DbError> {
    let statement = client.prepare_cached(MONTH).await?;
    Month::from_row(&client.query_one(&statement, &[&user_id]).await?)
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

/// Allows a user `number` more generations this month; the sum of those given for it.
/// Removes some of earlier months, which count no longer.
///
/// # Errors
/// Nothing was changed.
pub async fn give_extra(
    client: &impl GenericClient,
    user_id: Uuid,
    number: i32,
) -> Result<i32, DbError> {
    let statement = client
        .prepare_cached(
            "-- give extra generations
             with this as (
                 select date_trunc('month', now() at time zone 'utc')::date as month
             ), over as (
                 delete from regimen.extra_generations where (user_id, month) in (
                     select e.user_id, e.month from regimen.extra_generations e, this
                     where e.month < this.month order by e.month limit 100)
             )
             insert into regimen.extra_generations as given (user_id, month, number)
             select $1, month, $2 from this
             on conflict (user_id, month) do update
             set number = given.number + excluded.number, at = now()
             returning number",
        )
        .await?;
    Ok(client.query_one(&statement, &[&user_id, &number]).await?.try_get("number")?)
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
