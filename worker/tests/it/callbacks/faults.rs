//! Receivers that fail, hang or vanish, and workers that do.

use std::collections::HashSet;

use serde_json::json;
use uuid::Uuid;

use super::receiver::{Receiver, Reply};
use super::{LOCAL, fleet, kill, settled, submit, submit_for};
use crate::fleet::{Fleet, soon};

#[tokio::test]
async fn a_receiver_that_fails_gets_the_same_message_again() {
    let fleet = fleet(&[]).await;
    let receiver = Receiver::with(&[Reply::Status(500), Reply::Status(429)], Reply::Status(200));
    let (ingress, receiver) = (fleet.ingress().await, receiver.await);
    let _worker = fleet.worker().await;
    let (user, job) = submit(&ingress, &receiver.url).await;
    let tries = receiver.until(3).await;
    let ids: HashSet<_> = tries.iter().map(|one| (one.id(), &one.body)).collect();
    assert_eq!(ids.len(), 1, "one id and one body: {tries:?}");
    assert!(tries.iter().all(|one| one.is_signed_with(super::NEW)));
    let account = settled(&fleet, &ingress, user, job).await;
    assert_eq!(account["attempts"], 3);
    assert_eq!((&account["state"], &account["http_status"]), (&json!("delivered"), &json!(200)));
    assert_eq!(receiver.deliveries().len(), 3);
}

#[tokio::test]
async fn a_receiver_that_wants_no_more_is_left_alone() {
    let fleet = fleet(&[]).await;
    let receiver = Receiver::with(&[], Reply::Status(410)).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    let (user, job) = submit(&ingress, &receiver.url).await;
    let account = settled(&fleet, &ingress, user, job).await;
    assert_eq!((&account["state"], &account["attempts"]), (&json!("gone"), &json!(1)));
    assert_eq!(receiver.deliveries().len(), 1);
}

#[tokio::test]
async fn after_the_last_try_it_is_given_up_and_the_reason_kept() {
    let fleet = fleet(&[]).await;
    let receiver = Receiver::with(&[], Reply::Status(503)).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    let (user, job) = submit(&ingress, &receiver.url).await;
    let account = settled(&fleet, &ingress, user, job).await;
    assert_eq!((&account["state"], &account["attempts"]), (&json!("dead"), &json!(4)));
    assert_eq!(account["error"], "the receiver answered with status 503");
    assert!(account["settled_at"].is_string() && account["next_attempt_at"].is_null());
    assert_eq!(receiver.deliveries().len(), 4);
    let dead = "regimen_callbacks_total{outcome=\"dead\"}";
    fleet.until_metric(&worker, dead, 1.0).await;
}

#[tokio::test]
async fn a_worker_killed_before_it_could_record_leads_to_the_same_message_again() {
    let fleet = fleet(&[("CALLBACK_TIMEOUT_SECONDS", "1")]).await;
    let receiver = Receiver::with(&[Reply::Hang], Reply::Status(200)).await;
    let ingress = fleet.ingress().await;
    // The receiver has the message; its sender never learns so.
    let worker = fleet.worker_with(&[("CALLBACK_TIMEOUT_SECONDS", "60")]).await;
    let (user, job) = submit(&ingress, &receiver.url).await;
    receiver.until(1).await;
    kill(worker).await;
    // What the dead worker's claim holds is not waited for.
    let sql = "update regimen.callbacks set run_at = now()";
    fleet.db().await.execute(sql, &[]).await.unwrap();
    let _other = fleet.worker().await;
    let both = receiver.until(2).await;
    assert_eq!((both[0].id(), &both[0].body), (both[1].id(), &both[1].body));
    let account = settled(&fleet, &ingress, user, job).await;
    assert_eq!((&account["state"], &account["attempts"]), (&json!("delivered"), &json!(2)));
}

/// The claim of a worker that was killed runs out by itself.
#[tokio::test]
async fn a_claim_holds_for_a_time_and_no_longer() {
    let fleet = fleet(&[("CALLBACK_TIMEOUT_SECONDS", "2")]).await;
    let receiver = Receiver::with(&[Reply::Hang], Reply::Status(200)).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    submit(&ingress, &receiver.url).await;
    receiver.until(1).await;
    kill(worker).await;
    let unrecorded = "select count(*) from regimen.callbacks where error is null and attempts = 1";
    assert_eq!(fleet.count(unrecorded).await, 1);
    let _other = fleet.worker().await;
    receiver.until(2).await;
    fleet.until_count("select count(*) from regimen.callbacks where state = 'delivered'", 1).await;
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_neither_others_nor_the_plans() {
    let settings = [("CALLBACK_SLOTS", "4"), ("CALLBACKS_PER_HOST", "2")];
    let fleet = fleet(&settings).await;
    let slow = Receiver::with(&[], Reply::Hang).await;
    let quick = Receiver::new().await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    for _ in 0..12 {
        submit(&ingress, &slow.url).await;
    }
    slow.until(2).await;
    for _ in 0..6 {
        submit(&ingress, &quick.url).await;
    }
    quick.until(6).await;
    assert_eq!(slow.deliveries().len(), 2, "no more than its share at once");
    let done = "select count(*) from regimen.jobs where state = 'succeeded'";
    fleet.until_count(done, 18).await;
}

/// One user with many hosts has one user's share.
#[tokio::test]
async fn a_user_with_many_slow_hosts_holds_up_nobody_else() {
    let settings = [("CALLBACK_SLOTS", "4"), ("CALLBACKS_PER_HOST", "2")];
    let fleet = fleet(&settings).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    let (user, mut hosts) = (Uuid::new_v4(), Vec::new());
    for _ in 0..6 {
        hosts.push(Receiver::with(&[], Reply::Hang).await);
    }
    for host in &hosts {
        submit_for(&ingress, user, &host.url).await;
    }
    let done = "select count(*) from regimen.jobs where state = 'succeeded'";
    fleet.until_count(done, 6).await;
    let claimed = "select count(*) from regimen.callbacks where attempts > 0";
    fleet.until_count(claimed, 2).await;
    let quick = Receiver::new().await;
    for _ in 0..4 {
        submit(&ingress, &quick.url).await;
    }
    quick.until(4).await;
    assert_eq!(fleet.count(claimed).await, 6, "two of the one user's, four of the others'");
}

#[tokio::test]
async fn two_workers_send_nothing_twice() {
    let fleet = fleet(&[]).await;
    let (ingress, receiver) = (fleet.ingress().await, Receiver::new().await);
    let mut jobs = HashSet::new();
    for _ in 0..40 {
        jobs.insert(format!("msg_{}", submit(&ingress, &receiver.url).await.1.simple()));
    }
    let _workers = tokio::join!(fleet.worker(), fleet.worker());
    let delivered = "select count(*) from regimen.callbacks where state = 'delivered'";
    fleet.until_count(delivered, 40).await;
    let deliveries = receiver.deliveries();
    assert_eq!(deliveries.len(), 40);
    let told: HashSet<_> = deliveries.iter().map(|one| one.id().to_owned()).collect();
    assert_eq!(told, jobs);
}

#[tokio::test]
async fn a_worker_without_the_secrets_leaves_it_to_one_that_has_them() {
    let fleet = fleet(&[]).await;
    let (ingress, receiver) = (fleet.ingress().await, Receiver::new().await);
    let bare = fleet.worker_with(&[("CALLBACK_SECRETS", "")]).await;
    let (user, job) = submit(&ingress, &receiver.url).await;
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(
        view["callback"],
        json!({
            "state": "waiting", "attempts": 0, "next_attempt_at": view["callback"]["next_attempt_at"],
        })
    );
    let _able = fleet.worker().await;
    receiver.until(1).await;
    drop(bare);
}

/// What is owed stands in Postgres alone: with Redis gone it is told all the same.
#[tokio::test]
async fn without_redis_ends_are_told() {
    use regimen_common::test_support::{PrivatePostgres, PrivateRedis};
    let (postgres, mut redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &LOCAL).await;
    let (ingress, receiver) = (fleet.ingress().await, Receiver::new().await);
    let _worker = fleet.worker().await;
    redis.kill9().await;
    submit(&ingress, &receiver.url).await;
    receiver.until(1).await;
}
