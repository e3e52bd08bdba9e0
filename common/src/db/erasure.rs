//! Erases what a deleted account leaves: quiz answers, jobs, replies, events,
//! stored responses, notices and links to customers. Spending is kept without
//! the user.
//!
//! Contract: every step is bounded, idempotent and safe to run concurrently. If
//! a process dies in between, the account stays due and the next run continues.
//! Data younger than the deletion stays, because a user may return with the
//! same id.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::batch::{self, Batch, Outcome};
use super::billing::customers;
use super::jobs::DeletedAccount;
use super::{Client, DbError, GenericClient, Transaction};

/// The user id in spending records that are kept.
pub const NOBODY: Uuid = Uuid::nil();

/// The result of a request to delete an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The profile is deleted; the rest is erased within a day.
    Deleted {
        /// The time of the deletion.
        at: DateTime<Utc>,
    },
    /// A subscription of the user would renew; nothing was deleted.
    Subscribed,
}

/// Whether the user has a subscription that renews.
const RENEWS: &str = "-- renewing subscription
    select exists (
        select from regimen.subscriptions s join regimen.customers c on c.id = s.customer_id
        where s.user_id = $1 and not c.deleted and s.ends_at is null
            and s.status in ('active', 'trialing', 'past_due', 'unpaid', 'paused')
    ) as renews";

/// Recorded first, with the clock that the trigger on profiles uses; the trigger records
/// it, too.
const NOTE: &str = "-- note deleted account
    insert into regimen.deleted_accounts (user_id) values ($1)
    on conflict (user_id) do update set
        deleted_at = excluded.deleted_at, looked_at = excluded.looked_at, jobs_ended_at = null,
        erase_at = excluded.erase_at, erased_at = null";

/// Deletes a user's account: their rows in the app's tables, and their profile. After its
/// commit none of their jobs is sent to a provider; workers do the rest. Idempotent.
///
/// # Errors
/// Nothing was deleted. An error that blames a row comes from another of the app's tables
/// whose foreign key prevents the deletion of the profile.
pub async fn delete_account(
    tx: &Transaction<'_>,
    user: Uuid,
    despite_subscription: bool,
) -> Result<Deletion, DbError> {
    let statement = tx.prepare_cached(RENEWS).await?;
    let renews: bool = tx.query_one(&statement, &[&user]).await?.try_get("renews")?;
    if renews && !despite_subscription {
        return Ok(Deletion::Subscribed);
    }
    let statement = tx.prepare_cached(NOTE).await?;
    tx.execute(&statement, &[&user]).await?;
    for part in APP_ROWS {
        part.erase(tx, (user, DateTime::<Utc>::MAX_UTC), i64::MAX).await?;
    }
    let statement = tx
        .prepare_cached(
            "-- time of deletion
             select deleted_at from regimen.deleted_accounts where user_id = $1",
        )
        .await?;
    let at = tx.query_one(&statement, &[&user]).await?.try_get("deleted_at")?;
    Ok(Deletion::Deleted { at })
}

/// Accounts whose jobs have ended and that may have data left, the longest due first.
#[derive(Debug, Clone, Copy)]
pub struct LeftBehind<'a> {
    /// The highest number.
    pub limit: i64,
    /// Accounts to leave out.
    pub quarantine: &'a [Uuid],
}

/// Takes accounts to process. No other worker takes them within a minute.
///
/// # Errors
/// Nothing was taken.
pub async fn due(
    client: &mut Client,
    accounts: &LeftBehind<'_>,
) -> Result<Outcome<Uuid, DeletedAccount>, DbError> {
    batch::run(client, accounts).await
}

impl Batch for LeftBehind<'_> {
    type Key = Uuid;
    type Done = DeletedAccount;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<Uuid>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- find what accounts left behind
                 select user_id from regimen.deleted_accounts
                 where erased_at is null and jobs_ended_at is not null and erase_at <= now()
                     and user_id <> all ($2::uuid[])
                 order by erase_at limit $1 for update skip locked",
            )
            .await?;
        let rows = tx.query(&statement, &[&self.limit, &self.quarantine]).await?;
        rows.iter().map(|row| Ok(row.try_get("user_id")?)).collect()
    }

    async fn change(
        &self,
        tx: &Transaction<'_>,
        users: &[Uuid],
    ) -> Result<Vec<DeletedAccount>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- take what accounts left behind
                 with named as materialized (
                     select user_id, jobs_ended_at, erased_at from regimen.deleted_accounts
                     where user_id = any((select $1::uuid[])::uuid[]) for update skip locked
                 )
                 update regimen.deleted_accounts a set erase_at = now() + interval '1 minute'
                 from named
                 where a.user_id = named.user_id and named.jobs_ended_at is not null
                     and named.erased_at is null
                 returning a.user_id, a.deleted_at",
            )
            .await?;
        let rows = tx.query(&statement, &[&users]).await?;
        rows.iter().map(|row| Ok((row.try_get("user_id")?, row.try_get("deleted_at")?))).collect()
    }
}

/// Up to `$3` rows of a user (`$1`) from before the deletion (`$2`).
struct Part {
    what: &'static str,
    sql: &'static str,
}

impl Part {
    async fn erase(
        &self,
        client: &impl GenericClient,
        (user, deleted_at): DeletedAccount,
        limit: i64,
    ) -> Result<u64, DbError> {
        let statement = client.prepare_cached(self.sql).await?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&user, &deleted_at, &limit];
        client.execute(&statement, &parameters).await
    }
}

macro_rules! rows_of_user {
    ($table:literal, $user:literal, $at:literal) => {
        Part {
            what: $table,
            sql: concat!(
                "-- erase ",
                $table,
                "\n delete from ",
                $table,
                " where ctid = any(array(
                     select ctid from ",
                $table,
                "
                     where ",
                $user,
                " = $1 and coalesce(",
                $at,
                ", '-infinity') <= $2
                     limit $3))"
            ),
        }
    };
}

/// The app's rows; the profile last. For other tables that reference it, the app's
/// foreign keys decide.
const APP_ROWS: &[Part] = &[
    rows_of_user!("public.ai_meal_plans", "user_id", "created_at"),
    rows_of_user!("public.ai_workout_plans", "user_id", "created_at"),
    rows_of_user!("public.quiz_results", "user_id", "created_at"),
    rows_of_user!("public.notifications", "recipient_id", "created_at"),
    rows_of_user!("public.challenge_participants", "user_id", "created_at"),
    rows_of_user!("public.workout_logs", "user_id", "created_at"),
    rows_of_user!("public.daily_nutrition_logs", "user_id", "created_at"),
    rows_of_user!("public.daily_water_intake", "user_id", "created_at"),
    rows_of_user!("public.profiles", "id", "created_at"),
];

/// Data of a user with a profile is kept, because the user has returned.
const OUR_ROWS: &[Part] = &[
    rows_of_user!("regimen.idempotency_keys", "user_id", "created_at"),
    rows_of_user!("regimen.plan_origins", "user_id", "at"),
    rows_of_user!("regimen.billing_notices", "user_id", "created_at"),
    rows_of_user!("regimen.open_checkouts", "user_id", "made_at"),
    rows_of_user!("regimen.extra_generations", "user_id", "at"),
    Part {
        what: "regimen.generations",
        // Those of this month still count if the user returns.
        sql: "-- erase generations
            delete from regimen.generations where ctid = any(array(
                select ctid from regimen.generations
                where user_id = $1 and at <= $2 and (given_back_at is not null
                    or at < date_trunc('month', now() at time zone 'utc') at time zone 'utc')
                limit $3))",
    },
    Part {
        what: "regimen.ai_usage",
        // An interrupted call may be settled after the deletion; its job tells its time.
        sql: "-- spent by nobody
            update regimen.ai_usage set user_id = '00000000-0000-0000-0000-000000000000'
            where attempt_id = any(array(
                select attempt_id from regimen.ai_usage u
                where u.user_id = $1 and not exists (
                    select from regimen.jobs j
                    where j.id = u.job_id and j.created_at > $2 offset 0)
                order by u.at limit $3))",
    },
    Part {
        what: "regimen.stripe_events",
        // The row stays, so that the event is not stored again.
        sql: "-- empty stripe events
            update regimen.stripe_events set payload = '{}', customer_id = null,
                object_id = null, error_detail = null,
                state = case when state in ('unresolved', 'dead') then 'ignored' else state end
            where id = any(array(
                select e.id from regimen.customers c cross join lateral (
                    select id from regimen.stripe_events
                    where customer_id = c.id and state <> 'received' limit $3) e
                where c.user_id = $1 and $2::timestamptz is not null
                    and not exists (select from public.profiles p where p.id = $1 offset 0)
                    and not exists (
                        select from regimen.subscriptions s
                        where s.customer_id = c.id and s.user_id <> $1 offset 0)
                limit $3))",
    },
];

/// What one run over an account erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows per table, without zeros.
    pub rows: Vec<(&'static str, u64)>,
    /// More rows are left.
    pub more: bool,
}

impl Erased {
    fn add(&mut self, what: &'static str, rows: u64, limit: i64) {
        if rows > 0 {
            self.rows.push((what, rows));
        }
        self.more |= i64::try_from(rows).is_ok_and(|rows| rows >= limit);
    }
}

/// Erases up to `limit` rows of each kind.
///
/// # Errors
/// What was erased before the error stays erased.
pub async fn erase_some(
    client: &mut Client,
    account: DeletedAccount,
    limit: i64,
) -> Result<Erased, DbError> {
    let mut erased = Erased::default();
    for part in APP_ROWS.iter().chain(OUR_ROWS) {
        let rows = part.erase(&*client, account, limit).await?;
        erased.add(part.what, rows, limit);
    }
    if !erased.more {
        unlink(client, account.0, limit, &mut erased).await?;
    }
    Ok(erased)
}

/// The position in an account's jobs, newest first.
#[derive(Debug, Clone, Copy)]
pub struct JobsAfter(DateTime<Utc>, Uuid);

impl JobsAfter {
    /// Begins with the newest from before the deletion.
    pub fn newest((_, deleted_at): DeletedAccount) -> Self {
        Self(deleted_at, Uuid::max())
    }
}

/// Deletes up to `limit` of the account's ended jobs with everything that belongs to
/// them; returns their number and the next position. A job with an undelivered callback
/// is emptied and deleted when the callback is delivered or dead, or after 20 hours.
///
/// # Errors
/// Nothing was deleted.
pub async fn erase_jobs(
    client: &impl GenericClient,
    (user, deleted_at): DeletedAccount,
    after: JobsAfter,
    limit: i64,
) -> Result<(u64, Option<JobsAfter>), DbError> {
    let statement = client
        .prepare_cached(
            "-- erase jobs
             with page as materialized (
                 select id, created_at, finished_at from regimen.jobs
                 where user_id = $1 and (created_at, id) < ($2, $3)
                 order by created_at desc, id desc limit $4
             ), owing as materialized (
                 select page.id from page
                 where page.finished_at is not null and now() < $5::timestamptz + interval '20 hours'
                     and exists (select from regimen.callbacks c
                                 where c.job_id = page.id and c.state = 'waiting' offset 0)
             ), emptied as (
                 update regimen.jobs set input = '{}', warnings = null, error_detail = null,
                     trace_context = null, quiz_result_id = null, kept = 0
                 where id = any(array(select id from owing)) and kept > 0
             ), events as (
                 delete from regimen.job_events where job_id = any(array(select id from owing))
             ), attempts as (
                 delete from regimen.job_attempts where job_id = any(array(select id from owing))
             ), gone as (
                 delete from regimen.jobs where id = any(array(
                     select id from page
                     where finished_at is not null and id not in (select id from owing)))
                 returning id
             )
             select (select count(*) from gone) as gone,
                 (select count(*) from page) as seen,
                 (select created_at from page order by created_at, id limit 1) as last_at,
                 (select id from page order by created_at, id limit 1) as last_id",
        )
        .await?;
    let JobsAfter(at, id) = after;
    let row = client.query_one(&statement, &[&user, &at, &id, &limit, &deleted_at]).await?;
    let (gone, seen): (i64, i64) = (row.try_get("gone")?, row.try_get("seen")?);
    let last: (Option<_>, Option<_>) = (row.try_get("last_at")?, row.try_get("last_id")?);
    let next = Option::zip(last.0, last.1).filter(|_| seen >= limit);
    Ok((gone.unsigned_abs(), next.map(|(at, id)| JobsAfter(at, id))))
}

/// Removes the user from their customers and subscriptions, one customer at a time under
/// the lock that applying its events uses.
async fn unlink(
    client: &mut Client,
    user: Uuid,
    limit: i64,
    erased: &mut Erased,
) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- customers of a deleted account
             select id from (
                 select id from regimen.customers where user_id = $1
                 union
                 select customer_id from regimen.subscriptions where user_id = $1
             ) theirs
             where not exists (select from public.profiles p where p.id = $1 offset 0)
             order by id limit $2",
        )
        .await?;
    let rows = client.query(&statement, &[&user, &limit]).await?;
    for row in &rows {
        let customer: &str = row.try_get("id")?;
        let tx = client.transaction();
        customers::lock(&tx, customer).await?;
        let statement = tx
            .prepare_cached(
                // What another user of the customer has stays theirs.
                "-- unlink customer
                 with customer as (
                     update regimen.customers
                     set linked_user = case when linked_user is distinct from $2 then linked_user end,
                         link_source = case when linked_user is distinct from $2 then link_source end,
                         linked_at = case when linked_user is distinct from $2 then linked_at end,
                         user_id = nullif(user_id, $2),
                         revision = revision + 1, updated_at = now()
                     where id = $1
                     returning id
                 )
                 update regimen.subscriptions s
                 set user_id = nullif(s.user_id, $2), metadata_user = nullif(metadata_user, $2),
                     checkout_user = nullif(checkout_user, $2)
                 from customer
                 where s.customer_id = customer.id and $2 in (s.user_id, metadata_user, checkout_user)",
            )
            .await?;
        tx.execute(&statement, &[&customer, &user]).await?;
        tx.commit().await?;
    }
    erased.add("regimen.customers", rows.len() as u64, limit);
    Ok(())
}

/// Records the result: erased, or the time of the next run for what must stay for now.
/// Returns whether nothing is left.
///
/// # Errors
/// The account is due again in a minute.
pub async fn conclude(
    client: &impl GenericClient,
    (user, deleted_at): DeletedAccount,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- conclude erasure
             with left_over as materialized (
                 select (select true from regimen.jobs
                         where user_id = $1 and created_at <= $2
                         order by created_at desc, id desc limit 1) as job,
                     (select true from regimen.generations
                      where user_id = $1 and at <= $2 limit 1) as generation
             )
             update regimen.deleted_accounts set
                 erased_at = case when job is null and generation is null then now() end,
                 erase_at = case when job then now() + interval '10 minutes'
                     else (date_trunc('month', now() at time zone 'utc') + interval '1 month')
                         at time zone 'utc' end
             from left_over
             where user_id = $1 and deleted_at = $2 and jobs_ended_at is not null
             returning erased_at is not null as erased",
        )
        .await?;
    // None: the account was deleted again in the meantime, so it stays due.
    let row = client.query_opt(&statement, &[&user, &deleted_at]).await?;
    Ok(row.map(|row| row.try_get("erased")).transpose()?.unwrap_or(false))
}

/// Makes an erased account due again, because data of the user has arrived later.
///
/// # Errors
/// Postgres failed.
pub async fn look_again(client: &impl GenericClient, user: Uuid) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- erase once more
             update regimen.deleted_accounts
             set erased_at = null, erase_at = least(erase_at, now() + interval '1 hour')
             where user_id = $1",
        )
        .await?;
    client.execute(&statement, &[&user]).await?;
    Ok(())
}

/// How many seconds ago the longest due account became due.
///
/// # Errors
/// Postgres failed.
pub async fn overdue(client: &impl GenericClient) -> Result<f64, DbError> {
    let statement = client
        .prepare_cached(
            "-- overdue erasure
             select coalesce((select extract(epoch from now() - erase_at)
                 from regimen.deleted_accounts
                 where erased_at is null and jobs_ended_at is not null and erase_at <= now()
                 order by erase_at limit 1), 0)::float8 as late",
        )
        .await?;
    Ok(client.query_one(&statement, &[]).await?.try_get("late")?)
}
