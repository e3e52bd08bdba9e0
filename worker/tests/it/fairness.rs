//! Nobody's backlog stands before somebody else's first job, and paying users
//! go first without starving the others.

use std::collections::HashSet;

use regimen_common::job::JobClass;
use regimen_common::test_support::{PrivatePostgres, PrivateRedis};
use uuid::Uuid;

use crate::fleet::{Fleet, soon};

/// The first call after the heavy user's running jobs is the newcomer's.
async fn newcomer_is_next(workers: usize, slots: &str) {
    let fleet = Fleet::new(&[("WORKER_SLOTS", slots)]).await;
    let ingress = fleet.ingress().await;
    let mut fleet_workers = Vec::new();
    for _ in 0..workers {
        fleet_workers.push(fleet.worker().await);
    }
    fleet.simulator.hold("first", &[]).await;
    let heavy = Uuid::new_v4();
    fleet.accept(heavy, JobClass::Free, 10_000).await;
    // As an ingress would: those whose turn it is.
    let dispatched = fleet.dispatched().await;
    fleet.push(JobClass::Free, &dispatched).await;
    // All slots are the heavy user's; its next job starts when one of these ends.
    fleet.simulator.wait("open=2").await;
    let (user, job) = ingress.submit_one().await;
    let pushed = async { while !fleet.stands_in_redis(job).await {} };
    soon("the push", pushed).await;
    fleet.simulator.release("first").await;
    let view = soon("the newcomer's plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    let order = fleet.simulator.order().await;
    // Both of the heavy user's jobs end at once, so two calls are the next.
    let next: Vec<_> = order.iter().skip(2).take(2).collect();
    assert!(next.contains(&&job), "the newcomer waited behind {next:?}");
}

#[tokio::test]
async fn a_newcomer_starts_within_one_jobs_length_of_a_backlog_of_ten_thousand() {
    newcomer_is_next(1, "2").await;
}

#[tokio::test]
async fn a_newcomer_starts_within_one_jobs_length_with_two_workers() {
    newcomer_is_next(2, "1").await;
}

/// Free slots stay free rather than go to a user over its cap.
async fn cap_holds(fleet: &Fleet, redis_is_there: bool) {
    fleet.simulator.hold("all", &[]).await;
    let heavy = Uuid::new_v4();
    let backlog = fleet.accept(heavy, JobClass::Free, 20).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.extend(fleet.accept(Uuid::new_v4(), JobClass::Free, 1).await);
    }
    if redis_is_there {
        // More than its share, as doubled or early messages could make it.
        fleet.push(JobClass::Free, &backlog).await;
        fleet.push(JobClass::Free, &others).await;
    }
    // The others stand behind it and have all been taken, beside its share.
    for job in &others {
        fleet.simulator.wait(&format!("open=1&marker={job}")).await;
    }
    fleet.simulator.wait(&format!("open={}", others.len() + 2)).await;
    let calls: HashSet<_> = fleet.simulator.order().await.into_iter().collect();
    assert_eq!(backlog.iter().filter(|job| calls.contains(job)).count(), 2);
    fleet.simulator.release("all").await;
    let done = "select count(*) from regimen.jobs where state = 'succeeded'";
    fleet.until_count(done, 25).await;
    assert_eq!(fleet.plans().await, 25);
}

#[tokio::test]
async fn a_user_runs_no_more_than_its_share_over_three_workers() {
    let fleet = Fleet::new(&[]).await;
    let _workers = tokio::join!(fleet.worker(), fleet.worker(), fleet.worker());
    cap_holds(&fleet, true).await;
}

#[tokio::test]
async fn a_user_runs_no_more_than_its_share_while_redis_is_away() {
    let (postgres, mut redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    redis.kill9().await;
    let _workers = tokio::join!(fleet.worker(), fleet.worker());
    cap_holds(&fleet, false).await;
}

#[tokio::test]
async fn paying_users_get_four_turns_of_five() {
    let fleet = Fleet::new(&[("WORKER_SLOTS", "1")]).await;
    let (mut pro, mut free) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        pro.extend(fleet.accept(Uuid::new_v4(), JobClass::Pro, 1).await);
        free.extend(fleet.accept(Uuid::new_v4(), JobClass::Free, 1).await);
    }
    fleet.push(JobClass::Free, &free).await;
    fleet.push(JobClass::Pro, &pro).await;
    let _worker = fleet.worker().await;
    fleet.simulator.wait("calls=20").await;
    let order = fleet.simulator.order().await;
    let first: Vec<_> = order.iter().take(20).collect();
    assert_eq!(first.iter().filter(|job| pro.contains(job)).count(), 16);
    // Oldest first within each class.
    let of = |class: &[Uuid]| -> Vec<Uuid> {
        first.iter().filter(|job| class.contains(job)).map(|job| **job).collect()
    };
    assert_eq!((of(&pro), of(&free)), (pro[..16].to_vec(), free[..4].to_vec()));
}
