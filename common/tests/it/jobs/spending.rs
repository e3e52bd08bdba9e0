//! What has been spent, from the ledger and from calls under way.

use chrono::{DateTime, TimeDelta};
use regimen_common::db::jobs::{self, AttemptOutcome, NewAttempt, Usage};
use regimen_common::db::usage::spent_micros;
use regimen_common::test_support::TestDatabase;
use uuid::Uuid;

use super::shared::{end, hold, one_job};

fn attempt(id: Uuid, most_micros: i64) -> NewAttempt<'static> {
    let (provider, model, prompt_version) = ("openai", "m", "1");
    NewAttempt { id, provider, model, prompt_version, most_micros, warning: None }
}

#[tokio::test]
async fn calls_under_way_count_with_the_most_and_then_with_what_they_cost() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let ids = [one_job(&mut client).await, one_job(&mut client).await];
    let mut users = Vec::new();
    for id in ids {
        users.push(jobs::job(&client, id, None).await.unwrap().unwrap().user_id);
    }
    let long_ago = DateTime::UNIX_EPOCH;
    assert_eq!(spent_micros(&client, None, long_ago).await.unwrap(), 0);

    let (known, broken_off) = (Uuid::now_v7(), Uuid::now_v7());
    let held = hold(&client, ids[0], "w").await;
    jobs::start_attempt(&client, held, &attempt(known, 500)).await.unwrap().unwrap();
    jobs::start_attempt(&client, held, &attempt(broken_off, 70)).await.unwrap().unwrap();
    assert_eq!(spent_micros(&client, Some(users[0]), long_ago).await.unwrap(), 570);

    let usage = Usage {
        input_tokens: 9,
        cached_tokens: 0,
        output_tokens: 9,
        cost_micros: 30,
        estimated: true,
    };
    let outcome = AttemptOutcome { outcome: "ok", usage: Some(usage), ..AttemptOutcome::default() };
    jobs::judge_attempt(&client, known, &outcome).await.unwrap();
    assert_eq!(spent_micros(&client, Some(users[0]), long_ago).await.unwrap(), 100);

    // In the ledger now, and counted once.
    end(&mut client, held).await;
    assert_eq!(spent_micros(&client, None, long_ago).await.unwrap(), 100);
    assert_eq!(jobs::job(&client, ids[0], None).await.unwrap().unwrap().cost_micros, 100);
    // One was never answered, the other's counts cannot be.
    let estimated = "select count(*) from regimen.ai_usage where estimated";
    assert_eq!(client.query_one(estimated, &[]).await.unwrap().get::<_, i64>(0), 2);
    assert_eq!(spent_micros(&client, Some(users[1]), long_ago).await.unwrap(), 0);

    let now: DateTime<chrono::Utc> = client.query_one("select now()", &[]).await.unwrap().get(0);
    let later = now + TimeDelta::hours(1);
    assert_eq!(spent_micros(&client, None, later).await.unwrap(), 0);
}

/// A worker died with an attempt's real cost unknown; the next one found it out.
#[tokio::test]
async fn a_cost_that_becomes_known_later_is_put_right_in_the_ledger() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let (held, attempt_id) = (hold(&client, id, "w").await, Uuid::now_v7());
    jobs::start_attempt(&client, held, &attempt(attempt_id, 500)).await.unwrap().unwrap();
    let tx = client.transaction().await.unwrap();
    let wait = std::time::Duration::ZERO;
    jobs::retry_later(&tx, held, "waiting_retry", wait, "", true, 2).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    assert_eq!(spent_micros(&client, None, DateTime::UNIX_EPOCH).await.unwrap(), 500);

    let usage = Usage { cost_micros: 30, ..Usage::default() };
    let outcome = AttemptOutcome { outcome: "ok", usage: Some(usage), ..AttemptOutcome::default() };
    jobs::judge_attempt(&client, attempt_id, &outcome).await.unwrap();
    let held = hold(&client, id, "x").await;
    end(&mut client, held).await;
    assert_eq!(spent_micros(&client, None, DateTime::UNIX_EPOCH).await.unwrap(), 30);
}

/// The three accounts of a job: its own sum, its attempts' and the ledger's.
async fn accounts(client: &regimen_common::db::Client, id: Uuid) -> [i64; 3] {
    let sql = "select cost_micros,
                   (select coalesce(sum(cost_micros), 0)::bigint from regimen.job_attempts
                    where job_id = $1),
                   (select coalesce(sum(cost_micros), 0)::bigint from regimen.ai_usage
                    where job_id = $1)
               from regimen.jobs where id = $1";
    let row = client.query_one(sql, &[&id]).await.unwrap();
    [row.get(0), row.get(1), row.get(2)]
}

fn costing(cost_micros: i64) -> AttemptOutcome<'static> {
    let usage = Usage { cost_micros, ..Usage::default() };
    AttemptOutcome { outcome: "ok", usage: Some(usage), ..AttemptOutcome::default() }
}

/// A holder that comes too late changes no account of a job that has ended.
#[tokio::test]
async fn after_the_end_of_its_job_no_attempt_is_judged() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let (held, attempt_id) = (hold(&client, id, "w").await, Uuid::now_v7());
    jobs::start_attempt(&client, held, &attempt(attempt_id, 500)).await.unwrap().unwrap();
    let tx = client.transaction().await.unwrap();
    jobs::cancel(&tx, id, jobs::Canceller::Operator, 2).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!jobs::judge_attempt(&client, attempt_id, &costing(30)).await.unwrap());
    assert_eq!(accounts(&client, id).await, [500; 3]);
}

/// The end of a job waits for a judgement under way, and counts it.
#[tokio::test]
async fn a_judgement_beside_the_end_is_in_all_accounts_or_in_none() {
    let database = TestDatabase::new().await;
    let (mut client, mut other) = tokio::join!(database.client(), database.client());
    let id = one_job(&mut client).await;
    let (held, attempt_id) = (hold(&client, id, "w").await, Uuid::now_v7());
    jobs::start_attempt(&client, held, &attempt(attempt_id, 500)).await.unwrap().unwrap();
    let judging = other.transaction().await.unwrap();
    assert!(jobs::judge_attempt(&judging, attempt_id, &costing(30)).await.unwrap());
    let ending = tokio::spawn(async move {
        end(&mut client, held).await;
        client
    });
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    let look = database.client().await;
    while look.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(!ending.is_finished(), "the end did not wait");
    }
    judging.commit().await.unwrap();
    let client = ending.await.unwrap();
    assert_eq!(accounts(&client, id).await, [30; 3]);
}

/// What was spent is known while a job waits again after a drain or the loss
/// of its worker: counters may be filled from the ledger right then.
#[tokio::test]
async fn what_a_returned_job_has_cost_counts_while_it_waits() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let ids = [one_job(&mut client).await, one_job(&mut client).await];
    let mut held = Vec::new();
    for id in ids {
        let claim = hold(&client, id, "w").await;
        jobs::start_attempt(&client, claim, &attempt(Uuid::now_v7(), 500)).await.unwrap().unwrap();
        held.push(claim);
    }
    assert_eq!(jobs::hand_back(&client, &held[..1]).await.unwrap().len(), 1);
    let tx = client.transaction().await.unwrap();
    assert_eq!(jobs::lose(&tx, &held[1..], "gone", 2).await.unwrap().len(), 1);
    tx.commit().await.unwrap();
    assert_eq!(spent_micros(&client, None, DateTime::UNIX_EPOCH).await.unwrap(), 1_000);
}

/// An attempt that went into the ledger at its worst and then turned out to
/// have cost nothing leaves nothing there.
#[tokio::test]
async fn a_cost_that_turns_out_to_be_nothing_is_put_right_too() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let (held, attempt_id) = (hold(&client, id, "w").await, Uuid::now_v7());
    jobs::start_attempt(&client, held, &attempt(attempt_id, 500)).await.unwrap().unwrap();
    jobs::hand_back(&client, &[held]).await.unwrap();
    jobs::judge_attempt(&client, attempt_id, &costing(0)).await.unwrap();
    let held = hold(&client, id, "x").await;
    end(&mut client, held).await;
    assert_eq!(accounts(&client, id).await, [0; 3]);
}
