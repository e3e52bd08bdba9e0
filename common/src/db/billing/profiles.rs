//! SQL of the profile columns that the app reads: plan, renewal date and
//! customer id.

use crate::db::{Client, GenericClient};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::customers::{record, records_of_user};
use crate::billing::entitlement::{Entitlement, EntitlementPolicy};
use crate::billing::record::Record;
use crate::db::DbError;
use crate::db::planner::by_index;

/// The result for a user's profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// It now matches the subscriptions.
    Followed(Entitlement),
    /// The user has no profile (yet).
    Missing,
}

/// Updates the user's profile from their subscriptions. Users who never had one (`had`:
/// in the state being replaced) keep their plan, and a customer id stays until a better
/// one is known. Locks the profile until the transaction ends, so that two customers of
/// one user cannot overwrite each other.
///
/// # Errors
/// Postgres failed.
pub async fn refresh(
    tx: &impl GenericClient,
    user: Uuid,
    had: bool,
    policy: &EntitlementPolicy,
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

/// A user's customer is the one that pays for them, if it is their own and not that of a
/// giver; else the one linked to them last; else the one that their profile names, unless
/// a better one is known.
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
                              and (c.deleted or c.user_id is distinct from $1) offset 0))
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

/// A page of the users whose payment fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GracePage {
    /// Users whose grace period is over and who still have the unpaid plan.
    pub over: Vec<Uuid>,
    /// The last user of the page; `None` on the last page.
    pub last: Option<Uuid>,
}

/// Of up to `limit` users after `after` whose payment fails, finds those whose grace
/// period of `grace_seconds` has ended.
///
/// # Errors
/// Postgres failed.
pub async fn grace_over(
    client: &mut Client,
    after: Option<Uuid>,
    grace_seconds: f64,
    limit: i64,
) -> Result<GracePage, DbError> {
    let tx = by_index(client).await?;
    let statement = tx
        .prepare_cached(
            "-- grace over
             with page as materialized (
                 select user_id, coalesce(fell_due_at, seen_due_at) as due_at
                 from regimen.subscriptions
                 where status = 'past_due' and user_id > $3
                 order by user_id, seen_due_at limit $2
             )
             select page.user_id,
                 due_at <= now() - make_interval(secs => $1)
                 and (select p.plan_id from public.profiles p where p.id = page.user_id) = 'pro'
                 and (select true from regimen.subscriptions o
                      where o.user_id = page.user_id and o.status in ('active', 'trialing')
                      limit 1) is null
                     as over
             from page",
        )
        .await?;
    let after = after.unwrap_or_default();
    let rows = tx.query(&statement, &[&grace_seconds, &limit, &after]).await?;
    tx.rollback().await?;
    let mut page = GracePage::default();
    for row in &rows {
        let user: Uuid = row.try_get("user_id")?;
        if row.try_get::<_, Option<bool>>("over")?.unwrap_or_default() && !page.over.contains(&user)
        {
            page.over.push(user);
        }
        page.last = page.last.max(Some(user));
    }
    page.last.take_if(|_| i64::try_from(rows.len()).is_ok_and(|found| found < limit));
    Ok(page)
}

/// A user with a live subscription, and everything that decides their plan.
#[derive(Debug)]
pub struct Subscribed {
    /// The user.
    pub user: Uuid,
    /// Their plan in the app.
    pub plan_id: Option<String>,
    /// All their subscriptions.
    pub records: Vec<Record>,
}

/// Users with a live subscription, in the order of their ids, after `after`. A row that
/// cannot be read leaves its user out: the events of that subscription report it.
///
/// # Errors
/// Postgres failed.
pub async fn subscribed(
    client: &impl GenericClient,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Subscribed>, DbError> {
    let statement = client
        .prepare_cached(
            "-- subscribed users
             select p.id as profile, p.plan_id, s.id, s.customer_id, s.status, s.period_end,
                 s.ends_at, s.trial_end, s.price_id, s.made_at, s.basis, s.basis_at, s.fell_due_at,
                 s.seen_due_at, s.metadata_user, s.checkout_user, s.items, s.collection_paused,
                 s.resumes_at, c.deleted
             from (select distinct user_id from regimen.subscriptions
                   where user_id > $1 and status in ('active', 'trialing', 'past_due')
                   order by user_id limit $2) live
             join public.profiles p on p.id = live.user_id
             join regimen.subscriptions s on s.user_id = live.user_id
             join regimen.customers c on c.id = s.customer_id
             order by p.id, s.id",
        )
        .await?;
    let mut found: Vec<Subscribed> = Vec::new();
    let mut unreadable = None;
    for row in client.query(&statement, &[&after, &limit]).await? {
        let user: Uuid = row.get("profile");
        match record(&row) {
            Ok(record) => match found.last_mut().filter(|last| last.user == user) {
                Some(last) => last.records.push(record),
                None => found.push(Subscribed {
                    user,
                    plan_id: row.get("plan_id"),
                    records: vec![record],
                }),
            },
            Err(error) => {
                tracing::warn!(%error, "a subscription cannot be read by this release");
                unreadable = Some(user);
            }
        }
        if unreadable == Some(user) {
            found.retain(|other| other.user != user);
        }
    }
    Ok(found)
}

/// Live subscriptions without a snapshot of this release, in no order, except those of
/// `quarantine`.
///
/// # Errors
/// Postgres failed.
pub async fn unread(
    client: &impl GenericClient,
    quarantine: &[String],
    limit: i64,
) -> Result<Vec<(String, String)>, DbError> {
    let statement = client
        .prepare_cached(
            "-- unread subscriptions
             select id, customer_id from regimen.subscriptions
             where items is null and status in ('active', 'trialing', 'past_due')
                 and basis <> 'checkout' and id <> all ($2::text[])
             order by random() limit $1",
        )
        .await?;
    let rows = client.query(&statement, &[&limit, &quarantine]).await?;
    Ok(rows.iter().map(|row| (row.get("id"), row.get("customer_id"))).collect())
}
