//! Claims jobs under a fence and the lease of their worker, and extends that lease.

use std::time::Duration;

use crate::db::{Client, GenericClient, Transaction};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::db::DbError;
use crate::db::batch::{self, Batch, Outcome, readable};
use crate::job::{JobClass, PlanKind};
use crate::weights::Weights;

/// The settings of a worker's claims.
#[derive(Debug, Clone)]
pub struct ClaimPolicy {
    /// The worker's name in claims.
    pub worker_id: String,
    /// How long the worker's claims are valid without a heartbeat.
    pub lease: Duration,
    /// The time limit of a round, from its claim.
    pub deadline: Duration,
    /// The cap on running jobs of one user over the whole fleet.
    pub per_user: i64,
}

/// A job this worker holds.
#[derive(Debug, Clone)]
pub struct ClaimedJob {
    /// The job.
    pub id: Uuid,
    /// Identifies the claim: every write of the holder checks it.
    pub fence: i64,
    /// Its user.
    pub user_id: Uuid,
    /// The kind of plan.
    pub kind: PlanKind,
    /// Its dispatch list.
    pub class: JobClass,
    /// Its quiz.
    pub quiz_result_id: Option<Uuid>,
    /// The ingress's input, as Postgres writes it.
    pub input: Box<RawValue>,
    /// Claims so far, this one included.
    pub attempts: i32,
    /// It had no holder before and is not a retry: it has no stored reply.
    pub fresh: bool,
    /// Retry rounds taken.
    pub rounds: i32,
    /// When this round must be done.
    pub deadline_at: DateTime<Utc>,
    /// The database's clock at the claim.
    pub claimed_at: DateTime<Utc>,
    /// When the job was accepted.
    pub created_at: DateTime<Utc>,
    /// When it became claimable.
    pub turn_since: Option<DateTime<Utc>>,
    /// The trace of the request that created it, as header lines.
    pub trace_context: Option<String>,
    /// The number of the `claimed` event.
    pub last_seq: i32,
}

impl ClaimedJob {
    fn from_row(row: &Row) -> Result<Self, DbError> {
        let Json(input) = row.try_get("input")?;
        Ok(Self {
            id: row.try_get("id")?,
            fence: row.try_get("fence")?,
            user_id: row.try_get("user_id")?,
            kind: super::read::named(row, "kind")?,
            class: super::read::named(row, "class")?,
            quiz_result_id: row.try_get("quiz_result_id")?,
            input,
            attempts: row.try_get("attempts")?,
            fresh: row.try_get("fresh")?,
            rounds: row.try_get("rounds")?,
            deadline_at: row.try_get("deadline_at")?,
            claimed_at: row.try_get("updated_at")?,
            // Used for a metric only: an invalid time must not prevent the claim.
            turn_since: row.try_get("turn_since").ok(),
            created_at: row.try_get("created_at")?,
            trace_context: row.try_get("trace_context")?,
            last_seq: row.try_get("last_seq")?,
        })
    }
}

/// One claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    /// The job.
    pub id: Uuid,
    /// The claim's fence.
    pub fence: i64,
}

impl Held {
    pub(super) fn from_row(row: &Row) -> Self {
        Self { id: row.get("id"), fence: row.get("fence") }
    }
}

/// A claim is a sign of life, too: its worker has at least this share of a lease left then.
pub const LEAST_LEASE: f64 = 2.0 / 3.0;
/// How long a claim lasts beyond its deadline at most, in seconds: longer than its holder
/// tries to write an outcome.
const OUTLASTED: f64 = 660.0;

const CLAIM: &str = "-- claim jobs
    with lease as (
        insert into regimen.worker_leases (worker_id, expires_at)
        select $2, now() + make_interval(secs => $3)
        where not exists (select from regimen.worker_leases
                          where worker_id = $2 and expires_at > now() + make_interval(secs => $6))
        on conflict (worker_id) do update set expires_at = excluded.expires_at
    ), named as (
        -- Looked up by id alone: while statistics are old, a planner that sees the
        -- state beside it would rather read the index of everything queued. How many
        -- ids there are is not shown to it, as in `watch::ONE_OF`.
        select id, user_id, class, state, run_at, expires_at, created_at, first_claimed_at,
               coalesce(dispatched_at, run_at) as turn_since
        from regimen.jobs where id = any((select $1::uuid[])::uuid[])
        for update skip locked
    ), queued as materialized (
        -- `offset 0`: looked up for each, never joined with everybody's profiles.
        select *, exists (select from public.profiles p where p.id = user_id offset 0) as known
        from named where state = 'queued'
    ), wanted as (
        select id, user_id, created_at, turn_since from queued
        where known and run_at <= now()
          and (first_claimed_at is not null or expires_at > now())
          and not exists (select from regimen.pauses p where p.what = 'queue' and p.name = class)
    ), orphans as (
        -- Their jobs are cancelled, not run.
        insert into regimen.deleted_accounts as known (user_id)
        select distinct user_id from queued where not queued.known
        on conflict (user_id) do update
        set deleted_at = excluded.deleted_at, jobs_ended_at = null, erased_at = null
        where known.jobs_ended_at is not null
    ), users as (
        -- In the order of their locks, so that two claims cannot deadlock.
        select user_id, regimen.running_in_turn(user_id) as running
        from (select distinct user_id, hashtext(user_id::text) as lock
              from wanted order by lock) u
    ), ranked as (
        select w.id, w.turn_since,
               u.running + row_number() over
                   (partition by w.user_id order by w.created_at, w.id) as turn
        from wanted w join users u using (user_id)
    ), refused as (
        -- Over the user's cap: back to waiting for its turn.
        update regimen.jobs j set dispatched_at = null
        from ranked where ranked.id = j.id and ranked.turn > $5
    ), claimed as (
        update regimen.jobs j set
            state = 'running', stage = 'claimed',
            attempts = attempts + (not drained)::int, drained = false,
            fence = nextval('regimen.fence_seq'),
            worker_id = $2,
            lease_expires_at = make_interval(secs => $7)
                + greatest(now(), coalesce(deadline_at, now() + make_interval(secs => $4))),
            first_claimed_at = coalesce(first_claimed_at, now()),
            deadline_at = coalesce(deadline_at, now() + make_interval(secs => $4)),
            dispatched_at = null, updated_at = now(), last_seq = last_seq + 1
        from ranked where ranked.id = j.id and ranked.turn <= $5
        returning j.*, ranked.turn_since
    ), event as (
        insert into regimen.job_events (job_id, seq, at, kind, data)
        select id, last_seq, now(), 'claimed',
               jsonb_build_object('worker', worker_id, 'attempt', attempts)
        from claimed
    )
    select id, fence, user_id, kind, class, quiz_result_id, input, attempts,
           first_claimed_at = updated_at and not exists (
               select from regimen.job_retries r where r.retried_as = claimed.id offset 0) as fresh,
           rounds, deadline_at, updated_at, created_at, turn_since, trace_context, last_seq
    from claimed";

/// Claims those of `ids` that are queued, due and within their user's cap; the others are
/// skipped. One statement: it requires the isolation level of our connections,
/// [`crate::db::pool`].
///
/// # Errors
/// Nothing was claimed, or the answer was lost.
pub async fn claim<C: GenericClient>(
    client: &C,
    ids: &[Uuid],
    policy: &ClaimPolicy,
) -> Result<Vec<ClaimedJob>, DbError> {
    let statement = client.prepare_cached(CLAIM).await?;
    let (lease, deadline) = (policy.lease.as_secs_f64(), policy.deadline.as_secs_f64());
    let rows = client
        .query(
            &statement,
            &[
                &ids,
                &policy.worker_id,
                &lease,
                &deadline,
                &policy.per_user,
                &(lease * LEAST_LEASE),
                &OUTLASTED,
            ],
        )
        .await?;
    Ok(readable("claim", rows.iter().map(ClaimedJob::from_row)))
}

/// The same; if one of `ids` cannot be claimed because of its row, the others are.
///
/// # Errors
/// Nothing was claimed, or the answer was lost.
pub async fn claim_each(
    client: &mut Client,
    ids: &[Uuid],
    policy: &ClaimPolicy,
) -> Result<Outcome<Uuid, ClaimedJob>, DbError> {
    let claimed = claim(client, ids, policy).await;
    batch::or_in_halves(client, &Named(policy), ids, claimed).await
}

/// Jobs given by their ids.
struct Named<'a>(&'a ClaimPolicy);

impl Batch for Named<'_> {
    type Key = Uuid;
    type Done = ClaimedJob;

    async fn pick(&self, _: &Transaction<'_>) -> Result<Vec<Uuid>, DbError> {
        Ok(Vec::new())
    }

    async fn change(&self, tx: &Transaction<'_>, ids: &[Uuid]) -> Result<Vec<ClaimedJob>, DbError> {
        claim(tx, ids, self.0).await
    }
}

/// The claimable jobs, while Redis is away.
#[derive(Debug, Clone, Copy)]
pub struct Turns<'a> {
    /// The highest number.
    pub count: usize,
    /// The shares of the classes, oldest jobs first.
    pub weights: Weights,
    /// The number of earlier picks.
    pub turn: u64,
    /// The settings of claims.
    pub policy: &'a ClaimPolicy,
    /// Jobs to leave out.
    pub quarantine: &'a [Uuid],
}

/// Claims claimable jobs directly from Postgres.
///
/// # Errors
/// Nothing was claimed.
pub async fn claim_waiting(
    client: &mut Client,
    turns: &Turns<'_>,
) -> Result<Outcome<Uuid, ClaimedJob>, DbError> {
    batch::run(client, turns).await
}

impl Batch for Turns<'_> {
    type Key = Uuid;
    type Done = ClaimedJob;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<Uuid>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- find jobs whose turn it is
                 with pro as (
                     select id, class, dispatched_at from regimen.jobs
                     where class = 'pro' and state = 'queued' and dispatched_at is not null
                       and id <> all ($2::uuid[])
                     order by dispatched_at limit $1 for update skip locked
                 ), free as (
                     select id, class, dispatched_at from regimen.jobs
                     where class = 'free' and state = 'queued' and dispatched_at is not null
                       and id <> all ($2::uuid[])
                     order by dispatched_at limit $1 for update skip locked
                 )
                 select id, class from (select * from pro union all select * from free) found
                 order by dispatched_at",
            )
            .await?;
        let limit = i64::try_from(self.count).unwrap_or(i64::MAX);
        let (mut pro, mut free) = (Vec::new(), Vec::new());
        for row in tx.query(&statement, &[&limit, &self.quarantine]).await? {
            let list = if row.try_get::<_, &str>("class")? == "pro" { &mut pro } else { &mut free };
            list.push(row.try_get::<_, Uuid>("id")?);
        }
        let (pro_share, free_share) =
            self.weights.shares(self.turn, self.count, (pro.len(), free.len()));
        pro.truncate(pro_share);
        free.truncate(free_share);
        pro.append(&mut free);
        Ok(pro)
    }

    async fn change(&self, tx: &Transaction<'_>, ids: &[Uuid]) -> Result<Vec<ClaimedJob>, DbError> {
        claim(tx, ids, self.policy).await
    }
}

/// Extends the lease of a worker, and returns what it holds. Jobs that it holds no more were
/// cancelled or taken over.
///
/// # Errors
/// The lease was not extended, or the answer was lost.
pub async fn extend_lease<C: GenericClient>(
    client: &C,
    worker_id: &str,
    lease: Duration,
) -> Result<Vec<Held>, DbError> {
    let statement = client
        .prepare_cached(
            "-- extend lease
             with lease as (
                 insert into regimen.worker_leases (worker_id, expires_at)
                 values ($1, now() + make_interval(secs => $2))
                 on conflict (worker_id) do update set expires_at = excluded.expires_at
             )
             select id, fence from regimen.jobs where state = 'running' and worker_id = $1
             order by worker_id, id",
        )
        .await?;
    let rows = client.query(&statement, &[&worker_id, &lease.as_secs_f64()]).await?;
    Ok(rows.iter().map(Held::from_row).collect())
}

/// The jobs that a worker holds.
///
/// # Errors
/// The query failed.
pub async fn held_by<C: GenericClient>(client: &C, worker_id: &str) -> Result<Vec<Held>, DbError> {
    let statement = client
        .prepare_cached(
            "-- held by
             select id, fence from regimen.jobs where state = 'running' and worker_id = $1
             order by worker_id, id",
        )
        .await?;
    let rows = client.query(&statement, &[&worker_id]).await?;
    Ok(rows.iter().map(Held::from_row).collect())
}
