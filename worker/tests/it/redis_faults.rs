//! A Redis that is there and does not work: it refuses writes, became a
//! replica, or its connections went silent. Jobs and events go on as if it
//! were gone, it is told of, and all comes back by itself.

use std::time::Duration;

use regimen_common::clock::Clock;
use regimen_common::test_support::{Binary, PrivatePostgres, PrivateRedis, Proxy};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::fleet::{Fleet, Ingress, soon};
use crate::stripe::worker::{event, subscription};

const SECRET: &str = "whsec_redis_faults";
/// What "within seconds" may take, on a busy machine. A job that nobody took
/// would expire after 30.
const SECONDS: Duration = Duration::from_secs(20);
const AWAY: &str = "regimen_redis_away";

async fn gets_a_plan_within_seconds(ingress: &Ingress) {
    let asked_at = Instant::now();
    let (user, job) = soon("an answer", ingress.submit_one()).await;
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    assert!(asked_at.elapsed() < SECONDS, "{:?}", asked_at.elapsed());
}

/// Waits until the ingress calls itself `status`; returns what it says of Redis.
async fn trouble_when(ingress: &Ingress, status: &str) -> Option<String> {
    let said = async {
        loop {
            let request = ingress.door().request(Method::GET, Uuid::new_v4(), "/readyz");
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "it accepts all the while");
            let body: Value = answer.json().await.unwrap();
            if body["status"] == status {
                assert_eq!(body["redis"], status == "ready");
                return body["redis_trouble"].as_str().map(str::to_owned);
            }
        }
    };
    soon(status, said).await
}

async fn applies_an_event(fleet: &Fleet, ingress: &Ingress, id: &str) {
    let user = fleet.profile().await;
    let mut object = subscription("active", Some(user));
    object["id"] = json!(format!("sub_{id}"));
    object["customer"] = json!(format!("cus_{id}"));
    let now = Clock::system().now().timestamp();
    let event = event(&format!("evt_{id}"), "customer.subscription.created", now, &object);
    let asked_at = Instant::now();
    assert_eq!(ingress.door().deliver(&event, SECRET).await.status(), 200);
    let applied = format!(
        "select count(*) from regimen.stripe_events where id = 'evt_{id}' and state = 'applied'"
    );
    fleet.until_count(&applied, 1).await;
    assert!(asked_at.elapsed() < SECONDS, "{:?}", asked_at.elapsed());
}

async fn until_away(fleet: &Fleet, processes: [&Binary; 2], away: f64) {
    for process in processes {
        fleet.until_value(process, AWAY, |value| value == away).await;
    }
}

async fn full(redis: &PrivateRedis) {
    redis.configure("maxmemory-policy", "noeviction").await;
    redis.configure("maxmemory", "1").await;
}

#[tokio::test]
async fn a_redis_that_refuses_writes_holds_up_nobody() {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let settings = [("QUEUE_EXPIRY_SECONDS", "30"), ("STRIPE_WEBHOOK_SECRET", SECRET)];
    let fleet = Fleet::on(&postgres, &redis, &settings).await;
    let (ingress, worker) = (fleet.ingress().await, fleet.worker().await);
    gets_a_plan_within_seconds(&ingress).await;
    for refusal in ["OOM", "NOREPLICAS", "READONLY", "MISCONF"] {
        match refusal {
            "OOM" => full(&redis).await,
            "NOREPLICAS" => redis.configure("min-replicas-to-write", "1").await,
            "READONLY" => drop(redis.command("REPLICAOF 127.0.0.1 1").await),
            _ => redis.lose_disk().await,
        }
        // Before anybody has noticed, and after.
        gets_a_plan_within_seconds(&ingress).await;
        until_away(&fleet, [&ingress.binary, &worker], 1.0).await;
        let trouble = trouble_when(&ingress, "degraded").await.unwrap();
        assert!(trouble.contains(refusal), "{trouble}");
        gets_a_plan_within_seconds(&ingress).await;
        applies_an_event(&fleet, &ingress, refusal).await;
        match refusal {
            "OOM" => redis.configure("maxmemory", "0").await,
            "NOREPLICAS" => redis.configure("min-replicas-to-write", "0").await,
            "READONLY" => drop(redis.command("REPLICAOF NO ONE").await),
            _ => redis.configure("stop-writes-on-bgsave-error", "no").await,
        }
        until_away(&fleet, [&ingress.binary, &worker], 0.0).await;
        assert_eq!(trouble_when(&ingress, "ready").await, None);
        gets_a_plan_within_seconds(&ingress).await;
        applies_an_event(&fleet, &ingress, &format!("{refusal}_over")).await;
    }
    let expired = "select count(*) from regimen.jobs where state <> 'succeeded'";
    assert_eq!(fleet.count(expired).await, 0);
}

#[tokio::test]
async fn both_processes_start_and_work_while_redis_is_full() {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[("QUEUE_EXPIRY_SECONDS", "30")]).await;
    full(&redis).await;
    // Accepted by nobody who is here yet, and older than any push.
    let user = Uuid::new_v4();
    let early = fleet.accept(user, regimen_common::job::JobClass::Free, 1).await[0];
    let minute = "update regimen.jobs set dispatched_at = now() - interval '1 minute'";
    fleet.db().await.batch_execute(minute).await.unwrap();
    let (ingress, worker) = (fleet.ingress().await, fleet.worker().await);
    assert_eq!(soon("the plan", ingress.ended(user, early)).await["status"], "succeeded");
    gets_a_plan_within_seconds(&ingress).await;
    until_away(&fleet, [&ingress.binary, &worker], 1.0).await;
    assert!(trouble_when(&ingress, "degraded").await.unwrap().contains("OOM"));
}

/// What operators scale by: nobody claims, and whatever is pushed again makes
/// no job younger.
#[tokio::test]
async fn the_age_of_a_waiting_job_grows_whatever_becomes_of_its_message() {
    let fleet = Fleet::new(&[]).await;
    fleet.accept(Uuid::new_v4(), regimen_common::job::JobClass::Free, 1).await;
    let hour = "update regimen.jobs set dispatched_at = now() - interval '1 hour'";
    fleet.db().await.batch_execute(hour).await.unwrap();
    let worker = fleet.worker_with(&[("WORKER_SLOTS", "1")]).await;
    fleet.simulator.hold("first", &[]).await;
    // Its one slot is taken, so that the next job's message is lost in vain.
    fleet.simulator.wait("open=1").await;
    fleet.accept(Uuid::new_v4(), regimen_common::job::JobClass::Free, 1).await;
    fleet.db().await.batch_execute(hour).await.unwrap();
    fleet.until_metric(&worker, "regimen_messages_lost_total{class=\"free\"}", 1.0).await;
    let age = "regimen_oldest_claimable_seconds{class=\"free\"}";
    fleet.until_value(&worker, age, |value| value >= 3600.0).await;
}

/// As at a managed failover: the address is the same, new connections reach
/// the new primary, and those that stand stay with the old one.
#[tokio::test]
async fn a_demoted_redis_is_left_within_seconds() {
    let postgres = PrivatePostgres::start().await;
    let (old, new) = tokio::join!(PrivateRedis::start(), PrivateRedis::start());
    let proxy = Proxy::to_url(&old.url()).unwrap();
    let url = proxy.url(&old.url());
    // Nothing but a notice is as quick as this test wants a cancellation.
    let settings = [("REDIS_URL", url.as_str()), ("LEASE_SECONDS", "60")];
    let fleet = Fleet::on(&postgres, &old, &settings).await;
    let (ingress, worker) = (fleet.ingress().await, fleet.worker().await);
    gets_a_plan_within_seconds(&ingress).await;
    proxy.retarget(format!("127.0.0.1:{}", new.port()));
    old.command("REPLICAOF 127.0.0.1 1").await;
    gets_a_plan_within_seconds(&ingress).await;
    until_away(&fleet, [&ingress.binary, &worker], 0.0).await;
    trouble_when(&ingress, "ready").await;
    let of_new = async {
        // The shared connection, the subscription, and for a worker the two that block.
        let counted = async || {
            let list: String = redis::from_redis_value(new.command("CLIENT LIST").await).unwrap();
            list.lines().count() - 1
        };
        while counted().await < 6 {}
    };
    soon("every connection to be at the new primary", of_new).await;
    cancels_within(&fleet, &ingress, Duration::from_secs(2)).await;
}

async fn cancels_within(fleet: &Fleet, ingress: &Ingress, limit: Duration) {
    fleet.simulator.control(json!({"rules": [{"action": {"do": "hang"}}]})).await;
    let (user, job) = ingress.submit_one().await;
    fleet.simulator.wait("open=1").await;
    let asked_at = Instant::now();
    assert_eq!(ingress.cancel(user, job).await, StatusCode::ACCEPTED);
    fleet.simulator.wait("aborted=1").await;
    assert!(asked_at.elapsed() < limit, "{:?}", asked_at.elapsed());
}

/// As behind a NAT that has forgotten them; new connections work.
#[tokio::test]
async fn silent_connections_to_redis_hold_up_nobody() {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let proxy = Proxy::to_url(&redis.url()).unwrap();
    let url = proxy.url(&redis.url());
    let settings = [("REDIS_URL", url.as_str()), ("LEASE_SECONDS", "60")];
    let fleet = Fleet::on(&postgres, &redis, &settings).await;
    let (ingress, _worker) = (fleet.ingress().await, fleet.worker().await);
    gets_a_plan_within_seconds(&ingress).await;
    proxy.freeze();
    gets_a_plan_within_seconds(&ingress).await;
    proxy.freeze();
    // The heartbeat would notice after twenty seconds.
    cancels_within(&fleet, &ingress, Duration::from_secs(10)).await;
}
