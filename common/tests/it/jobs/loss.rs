//! What is kept when workers are lost: the job, its turn, its paid replies,
//! and the evidence when it is the job that kills them.

use std::time::Duration;

use regimen_common::db::jobs::{self, AttemptOutcome, LostLeases, NewAttempt};
use regimen_common::job::JobEventKind;
use regimen_common::test_support::TestDatabase;
use uuid::Uuid;

use super::shared::{
    PER_USER, history, hold, lose_leases, one_job, recover_leases, release, state,
};

#[tokio::test]
async fn a_job_that_lost_three_workers_fails_with_their_names() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    for worker in ["anna", "berta"] {
        hold(&client, id, worker).await;
        assert_eq!(lose_leases(&mut client).await[0].kind, JobEventKind::LeaseLost);
    }
    hold(&client, id, "clara").await;
    assert_eq!(lose_leases(&mut client).await[0].kind, JobEventKind::Failed);

    let failed = history(&client, id).await.pop().unwrap();
    assert_eq!((failed.kind, &failed.data["code"]), (JobEventKind::Failed, &"poisoned".into()));
    let evidence = failed.data["evidence"].as_array().unwrap();
    let workers: Vec<_> = evidence.iter().map(|lost| lost["worker"].as_str().unwrap()).collect();
    assert_eq!(workers, ["anna", "berta", "clara"]);
    assert!(evidence.iter().all(|lost| lost["reason"] == "its lease ran out"));
    assert!(evidence.iter().all(|lost| lost["at"].is_string()));

    let row = jobs::job(&client, id, None).await.unwrap().unwrap();
    assert_eq!(row.error_code.as_deref(), Some("poisoned"));
    assert!(row.error_detail.unwrap().contains("3 workers"));
}

#[tokio::test]
async fn a_lost_job_goes_before_those_that_wait() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let created_at = jobs::job(&client, id, None).await.unwrap().unwrap().created_at;
    hold(&client, id, "w").await;
    let lost = lose_leases(&mut client).await;
    assert_eq!((lost[0].next[0].at, lost[0].next[0].returned), (created_at, true));
    let held = hold(&client, id, "w").await;
    let returned = release(&mut client, &[held]).await;
    assert_eq!((returned[0].next[0].at, returned[0].next[0].returned), (created_at, true));
}

#[tokio::test]
async fn no_lease_is_taken_right_after_postgres_came_up() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    hold(&client, id, "w").await;
    client
        .batch_execute("update regimen.jobs set lease_expires_at = now() - interval '1 minute'")
        .await
        .unwrap();
    let century = Duration::from_secs(3_155_760_000);
    let lost = LostLeases { limit: 10, grace: century, per_user: PER_USER, quarantine: &[] };
    let taken = jobs::recover_leases(&mut client, &lost).await.unwrap().done;
    assert_eq!((taken.len(), state(&client, id).await.as_str()), (0, "running"));
    let taken = recover_leases(&mut client, 10).await;
    assert_eq!((taken.len(), state(&client, id).await.as_str()), (1, "queued"));
}

/// A machine that is frozen keeps its connections. The rows it had locked at
/// that moment must not stay locked until it thaws.
#[tokio::test]
async fn a_holder_that_stands_still_in_the_middle_of_its_commit_loses_its_job_too() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let held = hold(&client, id, "frozen").await;
    let mut frozen = database.client().await;
    let code = regimen_common::job::FailureCode::Refused;
    let tx = frozen.transaction().await.unwrap();
    jobs::fail(&tx, held, code, "", &serde_json::Value::Null, PER_USER).await.unwrap().unwrap();

    let sql = "set lock_timeout = '15s';
        update regimen.jobs set lease_expires_at = now() - interval '1 second'";
    client.batch_execute(sql).await.expect("Postgres ended the other transaction");
    let lost = recover_leases(&mut client, 10).await;
    assert_eq!((lost.len(), state(&client, id).await.as_str()), (1, "queued"));
    // It thaws. What it hears is worth another try, under a claim that is stale by now.
    let error = tx.commit().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}

/// A reply is good for the next holder until it was found bad.
#[tokio::test]
async fn a_paid_reply_is_used_until_it_is_refuted() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let held = hold(&client, id, "w").await;
    let attempt = Uuid::now_v7();
    let new = NewAttempt {
        id: attempt,
        provider: "openai",
        model: "m",
        prompt_version: "1",
        most_micros: 0,
        warning: None,
    };
    jobs::start_attempt(&client, held, &new).await.unwrap().unwrap();
    assert_eq!(jobs::usable_reply(&client, id).await.unwrap(), None);

    // The claim is lost meanwhile; the reply was paid for all the same.
    lose_leases(&mut client).await;
    jobs::store_reply(&client, held, attempt, "{}", Some(200), None).await.unwrap();
    let judge = |outcome| AttemptOutcome { outcome, ..AttemptOutcome::default() };
    let usable = async || {
        let reply = jobs::usable_reply(&client, id).await.unwrap();
        reply.map(|reply| reply.attempt_id)
    };
    assert_eq!(usable().await, Some(attempt));
    // Found good, but the worker died before the plan was saved.
    jobs::judge_attempt(&client, attempt, &judge("ok")).await.unwrap();
    assert_eq!(usable().await, Some(attempt));
    jobs::judge_attempt(&client, attempt, &judge("invalid")).await.unwrap();
    assert_eq!(usable().await, None);
}
