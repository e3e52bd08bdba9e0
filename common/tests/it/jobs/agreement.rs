//! The SQL does to a row what the rules do to a life, for any sequence of
//! changes, stale fences among them.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use regimen_common::db::Client;
use regimen_common::db::jobs::{self, CancelOutcome, Canceller, Held};
use regimen_common::job::{FailureCode, JobEventKind, JobState};
use regimen_common::test_support::TestDatabase;
use serde_json::Value;
use uuid::Uuid;

use super::rules::{Change, Life};
use super::shared::{
    PER_USER, expire_overdue, history, hold, lose_leases, one_job, policy, release, succeed,
};

/// A change as SQL would be asked for it. Fences are drawn by the database, so
/// a holder is named by how many claims ago it was: 0 is the present one.
#[derive(Debug, Clone, Copy)]
enum Step {
    Claim,
    Succeed(usize),
    Fail(usize),
    RetryLater(usize),
    Drain(usize),
    LoseLease,
    Cancel,
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    let ago = prop_oneof![3 => Just(0_usize), 1 => 1..3_usize];
    prop_oneof![
        6 => Just(Step::Claim),
        1 => ago.clone().prop_map(Step::Succeed),
        1 => ago.clone().prop_map(Step::Fail),
        3 => ago.clone().prop_map(Step::RetryLater),
        3 => ago.prop_map(Step::Drain),
        3 => Just(Step::LoseLease),
        1 => Just(Step::Cancel),
        1 => Just(Step::Expire),
    ]
}

#[test]
fn sql_agrees_with_the_rules() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = runtime.block_on(TestDatabase::new());
    let mut runner =
        TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let steps = prop::collection::vec(step(), 1..14);
    runner
        .run(&steps, |steps| {
            runtime.block_on(async { follow(&mut database.client().await, &steps).await })
        })
        .unwrap();
}

/// Lives one job through `steps` in both ways and compares after each.
async fn follow(client: &mut Client, steps: &[Step]) -> Result<(), TestCaseError> {
    let id = one_job(client).await;
    let (mut life, mut fences) = (Life::accepted(), Vec::new());
    for &step in steps {
        let fence = |ago: usize| fences.iter().rev().nth(ago).copied().unwrap_or(-1);
        let by_sql = ask_sql(client, id, step, &fence).await;
        let change = match step {
            // What fence SQL would have drawn is only known when it did claim.
            Step::Claim => Change::Claim { fence: by_sql.map_or(i64::MAX, |(_, fence)| fence) },
            Step::Succeed(ago) => Change::Succeed { fence: fence(ago) },
            Step::Fail(ago) => Change::Fail { fence: fence(ago) },
            Step::RetryLater(ago) => Change::RetryLater { fence: fence(ago) },
            Step::Drain(ago) => Change::Drain { fence: fence(ago) },
            Step::LoseLease => Change::LoseLease,
            Step::Cancel => Change::Cancel,
            Step::Expire => Change::Expire,
        };
        let by_rule = life.after(change);
        prop_assert_eq!(by_sql.is_some(), by_rule.is_ok(), "{:?} on {:?}", step, life);
        if let (Some((event, fence)), Ok((next, expected))) = (by_sql, by_rule) {
            prop_assert_eq!(event, expected, "{:?} on {:?}", step, life);
            life = next;
            if matches!(step, Step::Claim) {
                fences.push(fence);
            }
        }
        prop_assert_eq!(stored(client, id).await, life, "after {:?}", step);
    }
    let history = history(client, id).await;
    let numbers: Vec<i32> = history.iter().map(|event| event.seq).collect();
    prop_assert_eq!(numbers, (1..=life.last_seq).collect::<Vec<_>>());
    Ok(())
}

/// The event SQL recorded for the step, and the row's fence; `None` when it refused.
async fn ask_sql(
    client: &mut Client,
    id: Uuid,
    step: Step,
    fence: &impl Fn(usize) -> i64,
) -> Option<(JobEventKind, i64)> {
    let held = |ago| Held { id, fence: fence(ago) };
    let event = match step {
        Step::Claim => {
            let claimed = jobs::claim(client, &[id], &policy("w")).await.unwrap();
            return claimed.first().map(|claimed| (JobEventKind::Claimed, claimed.fence));
        }
        Step::Succeed(ago) => succeed(client, held(ago)).await.map(|ended| ended.kind),
        Step::Fail(ago) => {
            let tx = client.transaction();
            let code = FailureCode::Refused;
            let ended = jobs::fail(&tx, held(ago), code, "", &Value::Null, PER_USER).await.unwrap();
            tx.commit().await.unwrap();
            ended.map(|ended| ended.kind)
        }
        Step::RetryLater(ago) => {
            let tx = client.transaction();
            let (stage, now) = ("waiting_retry", Duration::ZERO);
            let ended = jobs::retry_later(&tx, held(ago), stage, now, "", true, PER_USER).await;
            tx.commit().await.unwrap();
            ended.unwrap().map(|ended| ended.kind)
        }
        Step::Drain(ago) => {
            let ended = release(client, &[held(ago)]).await;
            ended.first().map(|ended| ended.kind)
        }
        // Earlier cases left jobs behind that run.
        Step::LoseLease => {
            let lost = lose_leases(client).await;
            lost.iter().find(|ended| ended.job_id == id).map(|ended| ended.kind)
        }
        Step::Cancel => {
            let tx = client.transaction();
            let outcome = jobs::cancel(&tx, id, Canceller::Operator, PER_USER).await.unwrap();
            tx.commit().await.unwrap();
            matches!(outcome, CancelOutcome::Cancelled { .. }).then_some(JobEventKind::Cancelled)
        }
        Step::Expire => expire(client, id).await,
    };
    event.map(|event| (event, 0))
}

/// Lets the job's time to start pass, looks for overdue jobs, and gives it back.
async fn expire(client: &mut Client, id: Uuid) -> Option<JobEventKind> {
    let set = "update regimen.jobs set expires_at = now() + $2::int * interval '1 hour'
               where id = $1";
    client.execute(set, &[&id, &-1]).await.unwrap();
    let expired = expire_overdue(client, 100).await;
    client.execute(set, &[&id, &1]).await.unwrap();
    expired.first().map(|ended| ended.kind)
}

async fn stored(client: &Client, id: Uuid) -> Life {
    let sql = "select state, attempts, drained, lost, rounds, fence, last_seq,
                      first_claimed_at is not null as started
               from regimen.jobs where id = $1";
    let row = client.query_one(sql, &[&id]).await.unwrap();
    Life {
        state: row.get::<_, &str>("state").parse::<JobState>().unwrap(),
        attempts: row.get("attempts"),
        drained: row.get("drained"),
        lost: row.get("lost"),
        rounds: row.get("rounds"),
        fence: row.get("fence"),
        last_seq: row.get("last_seq"),
        started: row.get("started"),
    }
}

#[tokio::test]
async fn a_stale_holder_changes_nothing() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let stale = hold(&client, id, "first").await;
    lose_leases(&mut client).await;
    let present = hold(&client, id, "second").await;
    let before = history(&client, id).await;

    assert_eq!(succeed(&mut client, stale).await, None);
    let tx = client.transaction();
    let kind = JobEventKind::Repaired;
    assert_eq!(jobs::append_event(&tx, stale, kind, "x", &Value::Null).await.unwrap(), None);
    let attempt = jobs::NewAttempt {
        id: Uuid::now_v7(),
        provider: "openai",
        model: "m",
        prompt_version: "1",
        most_micros: 0,
        warning: None,
    };
    assert_eq!(jobs::start_attempt(&tx, stale, &attempt).await.unwrap(), None);
    tx.commit().await.unwrap();
    assert_eq!(release(&mut client, &[stale]).await, []);
    let lease = Duration::from_secs(5);
    assert_eq!(jobs::extend_lease(&client, "first", lease).await.unwrap(), []);
    assert_eq!(jobs::extend_lease(&client, "second", lease).await.unwrap(), [present]);
    assert_eq!(history(&client, id).await, before);
}
