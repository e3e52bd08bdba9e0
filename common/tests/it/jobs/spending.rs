//! What has been spent, from the ledger and from calls under way.

use chrono::{DateTime, TimeDelta};
use regimen_common::db::jobs::{self, AttemptOutcome, NewAttempt, Usage};
use regimen_common::db::usage::spent_micros;
use regimen_common::test_support::TestDatabase;
use uuid::Uuid;

use super::shared::{end, hold, one_job};

fn attempt(id: Uuid, most_micros: i64) -> NewAttempt<'static> {
    NewAttempt { id, provider: "openai", model: "m", prompt_version: "1", most_micros }
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

    let usage = Usage { input_tokens: 9, cached_tokens: 0, output_tokens: 9, cost_micros: 30 };
    let outcome = AttemptOutcome { outcome: "ok", usage: Some(usage), ..AttemptOutcome::default() };
    jobs::judge_attempt(&client, known, &outcome).await.unwrap();
    assert_eq!(spent_micros(&client, Some(users[0]), long_ago).await.unwrap(), 100);

    // In the ledger now, and counted once.
    end(&mut client, held).await;
    assert_eq!(spent_micros(&client, None, long_ago).await.unwrap(), 100);
    assert_eq!(jobs::job(&client, ids[0], None).await.unwrap().unwrap().cost_micros, 100);
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
