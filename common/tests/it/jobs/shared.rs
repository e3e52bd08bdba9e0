//! Jobs to test with, and looks at what became of them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use regimen_common::clock::Clock;
use regimen_common::db::jobs::{
    self, Acceptance, ClaimPolicy, ClaimedJob, EndOutcome, Ended, Held, LostLeases, LostMessages,
    NewJob, NewJobs, NextJob, Overdue, ReadyUsers, Success, SuccessfulEnd, Turns,
};
use regimen_common::db::plans::{NewPlan, PlanColumns};
use regimen_common::db::{Client, Outcome};
use regimen_common::dispatch::Weights;
use regimen_common::job::{JobClass, JobEventKind, PlanKind};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio_postgres::Row;
use uuid::Uuid;

/// How many of a user's jobs run at once in these tests.
pub(crate) const PER_USER: i64 = 2;

/// A worker's conditions, with a lease that does not run out by itself.
pub(crate) fn policy(worker: &str) -> ClaimPolicy {
    ClaimPolicy {
        worker_id: worker.to_owned(),
        lease: Duration::from_secs(600),
        deadline: Duration::from_secs(180),
        per_user: PER_USER,
    }
}

/// `count` meal jobs of one user in one request.
pub(crate) fn request(user_id: Uuid, count: usize) -> NewJobs {
    let job = |_| NewJob { id: Uuid::now_v7(), kind: PlanKind::Meal };
    NewJobs {
        warnings: None,
        cautions: None,
        user_id,
        email: None,
        generation_id: Uuid::now_v7(),
        jobs: (0..count).map(job).collect(),
        quiz_result_id: None,
        calculations: None,
        input: to_raw_value(&json!({})).unwrap(),
        callback_url: None,
        trace_context: None,
        expires_in_seconds: 900.0,
        per_user: PER_USER,
        monthly_quota: false,
        idempotency: None,
    }
}

/// A user whose jobs are of this class.
pub(crate) async fn user_of(client: &Client, class: JobClass) -> Uuid {
    let (user, plan) = (Uuid::now_v7(), class.as_str());
    let sql = "insert into public.profiles (id, email, plan_id) values ($1, 'x', $2)";
    client.execute(sql, &[&user, &plan]).await.unwrap();
    user
}

/// Accepts a request; returns the ids in order and those whose turn it is.
pub(crate) async fn accept(client: &mut Client, new: &NewJobs) -> (Vec<Uuid>, Vec<Uuid>) {
    match jobs::accept(client, new).await.unwrap() {
        Acceptance::Accepted { dispatch, .. } => {
            let ids = new.jobs.iter().map(|job| job.id).collect();
            (ids, dispatch.into_iter().map(|next| next.id).collect())
        }
        other => panic!("not accepted: {other:?}"),
    }
}

/// One job of a user of its own.
pub(crate) async fn one_job(client: &mut Client) -> Uuid {
    accept(client, &request(Uuid::now_v7(), 1)).await.0[0]
}

pub(crate) async fn claim(client: &Client, ids: &[Uuid], worker: &str) -> Vec<ClaimedJob> {
    jobs::claim(client, ids, &policy(worker)).await.unwrap()
}

/// Claims one job that must be claimable.
pub(crate) async fn hold(client: &Client, id: Uuid, worker: &str) -> Held {
    let claimed = claim(client, &[id], worker).await;
    Held { id, fence: claimed.first().unwrap_or_else(|| panic!("{id} not claimed")).fence }
}

/// Ends a claim as failed; returns the jobs whose turn came by it.
pub(crate) async fn end(client: &mut Client, held: Held) -> Vec<Uuid> {
    let tx = client.transaction();
    let code = regimen_common::job::FailureCode::Refused;
    let ended = jobs::fail(&tx, held, code, "", &Value::Null, PER_USER).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    next_ids(&[ended])
}

/// The leases of all workers run out.
pub(crate) async fn lose_leases(client: &mut Client) -> Vec<Ended> {
    client
        .batch_execute("update regimen.worker_leases set expires_at = now() - interval '1 second'")
        .await
        .unwrap();
    recover_leases(client, 1_000).await
}

/// Takes over what nobody holds any more.
pub(crate) async fn recover_leases(client: &mut Client, limit: i64) -> Vec<Ended> {
    let lost = LostLeases { limit, grace: Duration::ZERO, per_user: PER_USER, quarantine: &[] };
    whole(jobs::recover_leases(client, &lost).await.unwrap())
}

pub(crate) async fn expire_overdue(client: &mut Client, limit: i64) -> Vec<Ended> {
    let overdue = Overdue { limit, per_user: PER_USER, quarantine: &[] };
    whole(jobs::expire_overdue(client, &overdue).await.unwrap())
}

/// One page of the walk over users with waiting jobs.
pub(crate) async fn dispatch_ready(
    client: &mut Client,
    after: Option<Uuid>,
    limit: i64,
) -> (Vec<NextJob>, Option<Uuid>) {
    let users = ReadyUsers { after, limit };
    let page = jobs::dispatch_ready(client, users, PER_USER, &[]).await.unwrap();
    (whole(page.marked), page.last)
}

pub(crate) async fn redispatch_lost(
    client: &mut Client,
    popped_before: Option<DateTime<Utc>>,
    grace: Duration,
    limit: i64,
) -> Vec<NextJob> {
    let lost = LostMessages { class: JobClass::Free, popped_before, grace, limit, quarantine: &[] };
    whole(jobs::redispatch_lost(client, &lost).await.unwrap())
}

pub(crate) async fn release(client: &mut Client, held: &[Held]) -> Vec<Ended> {
    whole(jobs::release(client, held).await.unwrap())
}

/// Claims jobs whose turn it is without Redis.
pub(crate) async fn claim_waiting(
    client: &mut Client,
    count: usize,
    weights: Weights,
) -> Vec<ClaimedJob> {
    let policy = policy("direct");
    let turns = Turns { count, weights, turn: 0, policy: &policy, quarantine: &[] };
    whole(jobs::claim_waiting(client, &turns).await.unwrap())
}

/// What was done where nothing went wrong.
pub(crate) fn whole<K: std::fmt::Debug, T>(outcome: Outcome<K, T>) -> Vec<T> {
    assert!(outcome.poisoned.is_empty(), "{:?}", outcome.poisoned);
    assert!(outcome.broken_off.is_none(), "{:?}", outcome.broken_off);
    outcome.done
}

pub(crate) fn next_ids(ended: &[Ended]) -> Vec<Uuid> {
    ended.iter().flat_map(|ended| &ended.next).map(|next| next.id).collect()
}

/// One line of a job's history.
#[derive(Debug, PartialEq)]
pub(crate) struct JobEvent {
    pub(crate) seq: i32,
    pub(crate) at: DateTime<Utc>,
    pub(crate) kind: JobEventKind,
    pub(crate) data: Value,
}

pub(crate) async fn history(client: &Client, id: Uuid) -> Vec<JobEvent> {
    let sql = "select seq, at, kind, data from regimen.job_events where job_id = $1 order by seq";
    let event = |row: &Row| JobEvent {
        seq: row.get("seq"),
        at: row.get("at"),
        kind: row.get::<_, &str>("kind").parse().unwrap(),
        data: row.get("data"),
    };
    client.query(sql, &[&id]).await.unwrap().iter().map(event).collect()
}

pub(crate) async fn state(client: &Client, id: Uuid) -> String {
    let sql = "select state from regimen.jobs where id = $1";
    client.query_one(sql, &[&id]).await.unwrap().get(0)
}

/// Buffers of all our tables and their indexes this session's finished
/// statements have touched, and everybody else's.
pub(crate) async fn buffers(client: &Client) -> i64 {
    client.batch_execute("select pg_stat_force_next_flush()").await.unwrap();
    let sql = "select sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read, 0)
                          + coalesce(idx_blks_hit, 0))::bigint
               from pg_statio_user_tables where relname not like 'pg_%'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Ends a job as succeeded, with an empty plan; none if the claim is stale.
pub(crate) async fn succeed(client: &mut Client, held: Held) -> Option<Ended> {
    let sql = "select user_id from regimen.jobs where id = $1";
    let user_id = client.query_one(sql, &[&held.id]).await.unwrap().get(0);
    let (provider, model) = ("p".to_owned(), "m".to_owned());
    let success = Success { plan_id: Uuid::now_v7(), provider, model, reply: None };
    let plan = empty_plan(success.plan_id, user_id);
    let end = SuccessfulEnd { held, success: &success, plan };
    match jobs::succeed_alone(client, &end, PER_USER).await.unwrap() {
        EndOutcome::Ended(ended) => Some(ended),
        EndOutcome::Stale => None,
        EndOutcome::NoProfile => panic!("the user of {held:?} has no profile"),
    }
}

/// A plan without anything in it.
pub(crate) fn empty_plan(id: Uuid, user_id: Uuid) -> NewPlan<'static> {
    let columns =
        PlanColumns::Meal { daily_calories: 2_000, preferences: "[]", restrictions: "none" };
    let requested_at = Clock::system().now();
    NewPlan { id, user_id, quiz_result_id: None, requested_at, plan_data: RawValue::NULL, columns }
}
