//! SQL of what the app reads: a user's plan, its renewal and their customer id.

use crate::db::GenericClient;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::customers::records_of_user;
use crate::billing::entitlement::{Entitlement, Policy};
use crate::db::DbError;

/// What became of a user's profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// It says what the subscriptions say.
    Followed(Entitlement),
    /// The user has no profile (yet).
    Missing,
}

/// Lets the user's profile follow their subscriptions. Users who never had one
/// (`had`: in what is being replaced) keep the plan they were given, and a
/// customer id stays until a better one is known. Locks the profile until the
/// transaction ends, so that two customers of one user cannot overwrite each
/// other.
///
/// # Errors
/// Postgres failed.
pub async fn refresh(
    tx: &impl GenericClient,
    user: Uuid,
    had: bool,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Result<Refreshed, DbError> {
    let statement = tx
        .prepare_cached(
            "-- lock profile
             select 1 from public.profiles where id = $1 for no key update",
        )
        .await?;
    if tx.query_opt(&statement, &[&user]).await?.is_none() {
        return Ok(Refreshed::Missing);
    }
    let records = records_of_user(tx, user).await?;
    let due = Entitlement::of(&records, policy, now);
    if had || !records.is_empty() {
        follow(tx, user, &due).await?;
    }
    name_customer(tx, user, due.customer.as_deref()).await?;
    Ok(Refreshed::Followed(due))
}

async fn follow(tx: &impl GenericClient, user: Uuid, due: &Entitlement) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "-- follow subscriptions
             update public.profiles
             set plan_id = $2, plan_renewal_date = $3
             where id = $1 and (plan_id, plan_renewal_date) is distinct from ($2, $3::date)",
        )
        .await?;
    tx.execute(&statement, &[&user, &due.plan_id(), &due.renews_on]).await?;
    Ok(())
}

/// A user's customer is the one that pays for them, if it is their own and not
/// somebody's who gave them a present; else the one linked to them last; else
/// the one their profile names, unless we know better.
async fn name_customer(
    tx: &impl GenericClient,
    user: Uuid,
    paying: Option<&str>,
) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "-- name customer
             with own as (
                 select coalesce(
                     (select id from regimen.customers
                      where user_id = $1 and not deleted and id = $2),
                     (select id from regimen.customers
                      where user_id = $1 and not deleted
                      order by linked_at desc nulls last, id limit 1),
                     (select stripe_customer_id from public.profiles p
                      where p.id = $1 and not exists (
                          select 1 from regimen.customers c
                          where c.id = p.stripe_customer_id
                              and (c.deleted or c.user_id is distinct from $1)))
                 ) as customer
             )
             update public.profiles
             set stripe_customer_id = own.customer
             from own
             where profiles.id = $1 and stripe_customer_id is distinct from own.customer",
        )
        .await?;
    tx.execute(&statement, &[&user, &paying]).await?;
    Ok(())
}

/// Users whose time of grace has run out, `grace_seconds` after payment began to
/// fail, and who still have what they have not paid for.
///
/// # Errors
/// Postgres failed.
pub async fn grace_over(
    client: &impl GenericClient,
    grace_seconds: f64,
    limit: i64,
) -> Result<Vec<Uuid>, DbError> {
    let statement = client
        .prepare_cached(
            "-- grace over
             select distinct s.user_id
             from regimen.subscriptions s join public.profiles p on p.id = s.user_id
             where s.status = 'past_due' and p.plan_id = 'pro'
                 and coalesce(s.fell_due_at, s.seen_due_at) <= now() - make_interval(secs => $1)
                 and not exists (
                     select 1 from regimen.subscriptions o
                     where o.user_id = s.user_id and o.status in ('active', 'trialing'))
             limit $2",
        )
        .await?;
    let rows = client.query(&statement, &[&grace_seconds, &limit]).await?;
    Ok(rows.iter().map(|row| row.get("user_id")).collect())
}
