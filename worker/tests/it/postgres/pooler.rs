//! Poolers: session mode works, transaction mode is refused by whatever starts.

use futures_util::future::join_all;
use regimen_common::test_support::{Pgbouncer, PrivatePostgres, PrivateRedis, Process};
use reqwest::StatusCode;
use uuid::Uuid;

use super::gets_a_plan;
use crate::fleet::ingress::{body, job_ids};
use crate::fleet::{Fleet, soon};

#[tokio::test]
async fn a_pooler_in_session_mode_works() {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let settings = ["pool_mode = session", "default_pool_size = 40"];
    let pooler = Pgbouncer::start(&postgres.url(), &settings).await;
    let fleet = Fleet::on(&postgres, &redis, &[("DATABASE_URL", pooler.url())]).await;
    let (status, said) = fleet.command(&["migrate"]).await;
    assert_eq!(status, Some(0), "{said}");
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    for _ in 0..3 {
        gets_a_plan(&ingress).await;
    }
    assert_eq!(fleet.plans().await, 3);
}

/// An ingress and a worker share them: four each, and the worker's for its leases.
#[tokio::test]
async fn ten_connections_in_session_mode_carry_a_load() {
    const USERS: usize = 30;
    const EACH: usize = 3;
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let settings = ["pool_mode = session", "default_pool_size = 10", "max_db_connections = 10"];
    let pooler = Pgbouncer::start(&postgres.url(), &settings).await;
    let mut fleet = Fleet::on(&postgres, &redis, &[("DATABASE_URL", pooler.url())]).await;
    fleet.set("DATABASE_POOL_SIZE", "4");
    let (status, said) = fleet.command(&["migrate"]).await;
    assert_eq!(status, Some(0), "{said}");
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    let user = async || {
        let user = Uuid::new_v4();
        for number in 0..EACH {
            let (body, key) = (body(&["meal"]), number.to_string());
            let answer = ingress.door().post_plans(user, &body, Some(&key)).await.unwrap();
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
            let job = job_ids(&answer.json().await.unwrap())[0];
            let view = soon("the plan", ingress.ended(user, job)).await;
            assert_eq!(view["status"], "succeeded", "{view}");
        }
    };
    join_all((0..USERS).map(|_| user())).await;
    assert_eq!(fleet.plans().await, (USERS * EACH) as i64);
}

/// In whatever order it hands its sessions out, and however many there are.
#[tokio::test]
async fn a_pooler_in_transaction_mode_is_refused_by_all_binaries() {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    for settings in [
        &["pool_mode = transaction"][..],
        &["pool_mode = transaction", "server_round_robin = 1", "min_pool_size = 5"],
        &["pool_mode = transaction", "default_pool_size = 1"],
        &["pool_mode = statement"],
    ] {
        let pooler = Pgbouncer::start(&postgres.url(), settings).await;
        let mut fleet = Fleet::on(&postgres, &redis, &[("DATABASE_URL", pooler.url())]).await;
        fleet.set("STRIPE_SECRET_KEY", "sk_test_nothing");
        for command in [&["migrate"][..], &["events", "list"], &["backfill"]] {
            let (status, said) = fleet.command(command).await;
            assert_refused(status, &said, &format!("{command:?} under {settings:?}"));
        }
        for name in ["regimen-ingress", "regimen-worker"] {
            let mut process = Process::spawn(name, fleet.settings());
            let status = soon("its end", process.wait_exit()).await;
            assert_refused(status.code(), &process.output(), &format!("{name} under {settings:?}"));
        }
    }
}

fn assert_refused(status: Option<i32>, said: &str, who: &str) {
    assert_eq!(status, Some(1), "{who}: {said}");
    let line = said.lines().find(|line| line.starts_with("DATABASE_URL leads through"));
    let line = line.unwrap_or_else(|| panic!("{who}: {said}"));
    assert!(line.contains("transaction mode") && line.contains("session mode"), "{who}: {line}");
}
