//! What is kept when workers are lost: the job, its turn, its paid replies,
//! and the evidence when it is the job that kills them.

use std::time::Duration;

use regimen_common::db::Client;
use regimen_common::db::jobs::{
    self, AttemptOutcome, Ended, Held, LostLeases, NewAttempt, PaidReply,
};
use regimen_common::db::workers::{self, SignOfLife};
use regimen_common::job::{FailureCode, JobEventKind};
use regimen_common::test_support::TestDatabase;
use serde_json::Value;
use uuid::Uuid;

use super::shared::{
    PER_USER, accept, history, hold, lose_leases, next_ids, one_job, policy, recover_leases,
    release, request, state, succeed,
};

const LEASE: Duration = Duration::from_secs(10);

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

/// Ends a claim as `kind` of event says.
async fn end_as(client: &mut Client, held: Held, kind: JobEventKind) -> Ended {
    if kind == JobEventKind::Saved {
        return succeed(client, held).await.unwrap();
    }
    let tx = client.transaction();
    let ended = match kind {
        JobEventKind::Failed => {
            jobs::fail(&tx, held, FailureCode::Refused, "", &Value::Null, PER_USER).await.unwrap()
        }
        JobEventKind::RetryScheduled => {
            let after = Duration::from_secs(600);
            jobs::retry_later(&tx, held, "waiting_retry", after, "", true, PER_USER).await.unwrap()
        }
        _ => jobs::lose(&tx, &[held], "it panicked", PER_USER).await.unwrap().pop(),
    };
    tx.commit().await.unwrap();
    ended.unwrap()
}

/// By a holder who did not hear of the commit: with the jobs that it dispatched and no others.
#[tokio::test]
async fn an_end_without_an_answer_is_found_while_the_claim_is_the_last_one() {
    for kind in [
        JobEventKind::Saved,
        JobEventKind::Failed,
        JobEventKind::RetryScheduled,
        JobEventKind::LeaseLost,
    ] {
        let database = TestDatabase::new().await;
        let mut client = database.client().await;
        let new = request(Uuid::now_v7(), PER_USER as usize + 2);
        let (ids, _) = accept(&mut client, &new).await;
        let held = hold(&client, ids[0], "w").await;
        assert_eq!(jobs::find_end(&client, held, &[kind]).await.unwrap(), None);
        let ended = end_as(&mut client, held, kind).await;
        let found = jobs::find_end(&client, held, &[kind]).await.unwrap().unwrap();
        assert_eq!((found.job_id, found.kind, found.seq), (held.id, kind, ended.seq));
        assert_eq!((next_ids(&[found]), ended.next.len()), (next_ids(&[ended]), 1), "{kind:?}");
        let other = [JobEventKind::Cancelled];
        assert_eq!(jobs::find_end(&client, held, &other).await.unwrap(), None);

        if state(&client, held.id).await == "queued" {
            let due = "update regimen.jobs set run_at = now(), dispatched_at = now() where id = $1";
            client.execute(due, &[&held.id]).await.unwrap();
            hold(&client, held.id, "other").await;
        }
        let stale = Held { fence: held.fence - 1, ..held };
        assert_eq!(jobs::find_end(&client, stale, &[kind]).await.unwrap(), None);
        let taken = state(&client, held.id).await == "running";
        let found = jobs::find_end(&client, held, &[kind]).await.unwrap();
        assert_eq!(found.is_none(), taken, "{kind:?}");
    }
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
        .batch_execute("update regimen.worker_leases set expires_at = now() - interval '1 minute'")
        .await
        .unwrap();
    let century = Duration::from_secs(3_155_760_000);
    let lost = LostLeases { limit: 10, grace: century, per_user: PER_USER, quarantine: &[] };
    let taken = jobs::recover_leases(&mut client, &lost).await.unwrap().done;
    assert_eq!((taken.len(), state(&client, id).await.as_str()), (0, "running"));
    let taken = recover_leases(&mut client, 10).await;
    assert_eq!((taken.len(), state(&client, id).await.as_str()), (1, "queued"));
}

/// What one worker leaves behind does not touch what others hold.
#[tokio::test]
async fn only_what_an_expired_worker_holds_is_taken() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (left, kept) = (one_job(&mut client).await, one_job(&mut client).await);
    hold(&client, left, "dead").await;
    let held = hold(&client, kept, "alive").await;
    let lapse = "update regimen.worker_leases set expires_at = now() - interval '1 second'
                 where worker_id = 'dead'";
    client.batch_execute(lapse).await.unwrap();
    let lost = recover_leases(&mut client, 10).await;
    assert_eq!(lost.iter().map(|ended| ended.job_id).collect::<Vec<_>>(), [left]);
    assert_eq!(jobs::extend_lease(&client, "alive", LEASE).await.unwrap(), [held]);
    assert_eq!(jobs::extend_lease(&client, "dead", LEASE).await.unwrap(), []);
}

/// A heartbeat in time keeps everything, and one that comes late keeps what nobody took.
#[tokio::test]
async fn a_heartbeat_keeps_what_was_not_taken_yet() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let held = hold(&client, id, "late").await;
    let lapse = "update regimen.worker_leases set expires_at = now() - interval '1 second'";
    client.batch_execute(lapse).await.unwrap();
    assert_eq!(jobs::extend_lease(&client, "late", LEASE).await.unwrap(), [held]);
    assert!(recover_leases(&mut client, 10).await.is_empty());
}

/// A claim is a sign of life: it must not be taken over at once because the heartbeat before
/// it failed, or because somebody deleted the lease.
#[tokio::test]
async fn a_claim_renews_a_lease_that_is_missing_or_nearly_over() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let left = "select extract(epoch from max(expires_at) - now())::float8
                from regimen.worker_leases where worker_id = 'w'";
    let least = policy("w").lease.as_secs_f64() * jobs::LEAST_LEASE;
    for before in [
        "delete from regimen.worker_leases",
        "update regimen.worker_leases set expires_at = now() - interval '1 hour'",
        "update regimen.worker_leases set expires_at = now() + interval '1 second'",
    ] {
        client.batch_execute(before).await.unwrap();
        let id = one_job(&mut client).await;
        hold(&client, id, "w").await;
        let left: f64 = client.query_one(left, &[]).await.unwrap().get(0);
        assert!(left > least - 1.0, "{before}: {left} s");
        assert!(recover_leases(&mut client, 10).await.is_empty(), "{before}");
    }
}

/// A claim ends some time after its deadline, even if its worker lives and keeps it; and
/// workers of the release before have no lease of their own.
#[tokio::test]
async fn a_claim_that_outlasts_its_own_end_is_taken() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    hold(&client, id, "w").await;
    let ends = "select lease_expires_at > deadline_at + interval '10 minutes'
                from regimen.jobs where id = $1";
    assert!(client.query_one(ends, &[&id]).await.unwrap().get::<_, bool>(0));
    client
        .batch_execute(
            "update regimen.jobs set lease_expires_at = now() - interval '1 second';
             update regimen.worker_leases set worker_id = 'another'",
        )
        .await
        .unwrap();
    let lost = recover_leases(&mut client, 10).await;
    assert_eq!((lost.len(), state(&client, id).await.as_str()), (1, "queued"));
}

/// Leases are cleared away with their workers, but not before their jobs are taken over.
#[tokio::test]
async fn a_lease_stays_until_nothing_is_held_under_it() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    hold(&client, id, "w").await;
    let sign = SignOfLife {
        worker_id: "other".to_owned(),
        version: "1",
        host: "h".to_owned(),
        pid: 1,
        slots: 1,
    };
    let old = "update regimen.worker_leases set expires_at = now() - interval '2 hours'";
    client.batch_execute(old).await.unwrap();
    workers::gone(&client, "w").await.unwrap();
    workers::seen(&client, &sign, 0, false).await.unwrap();
    assert_eq!(recover_leases(&mut client, 10).await.len(), 1);
    let leases = "select count(*) from regimen.worker_leases";
    let left = async || client.query_one(leases, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(left().await, 1);
    workers::seen(&client, &sign, 0, false).await.unwrap();
    assert_eq!(left().await, 0);
}

/// A worker that ends does not wait for a claim that it gave up. If that is committed after
/// all, the job is taken over at once.
#[tokio::test]
async fn a_claim_committed_after_its_worker_ended_is_taken_over() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (first, late) = (one_job(&mut client).await, one_job(&mut client).await);
    let held = hold(&client, first, "w").await;
    let mut other = database.client().await;
    let claiming = other.transaction();
    assert_eq!(jobs::claim(&claiming, &[late], &policy("w")).await.unwrap().len(), 1);
    release(&mut client, &[held]).await;
    workers::gone(&client, "w").await.unwrap();
    claiming.commit().await.unwrap();
    assert_eq!(recover_leases(&mut client, 10).await.len(), 1);
    assert_eq!(state(&client, late).await, "queued");
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
    let tx = frozen.transaction();
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
    let reply = PaidReply {
        held,
        attempt_id: attempt,
        raw: "{}",
        http_status: Some(200),
        request_id: None,
    };
    jobs::store_reply(&client, &reply).await.unwrap();
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
