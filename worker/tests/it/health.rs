//! What both binaries say of themselves is true, and says why.

use regimen_common::test_support::Binary;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::{Fleet, Ingress, soon};

async fn health(ingress: &Ingress) -> Value {
    ingress.get(Uuid::nil(), "/health").await
}

async fn until_healthy(ingress: &Ingress, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        loop {
            let health = health(ingress).await;
            if wanted(&health) {
                return health;
            }
        }
    };
    soon(what, asking).await
}

async fn ask(url: &str) -> (StatusCode, Value) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn of_worker(worker: &Binary, path: &str) -> (StatusCode, Value) {
    ask(&format!("{}{path}", worker.address("METRICS_URL"))).await
}

async fn of_ingress(ingress: &Ingress, path: &str) -> (StatusCode, Value) {
    let answer = ingress.door().request(Method::GET, Uuid::nil(), path).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn health_tells_of_providers_what_their_workers_know() {
    let mut fleet = Fleet::new(&[("PROVIDER_BREAKER_SECONDS", "600")]).await;
    // The ingress has no keys.
    fleet.set("OPENAI_API_KEY", "");
    let ingress = fleet.ingress().await;
    let nobody = health(&ingress).await;
    assert_eq!((&nobody["status"], &nobody["database"]), (&json!("degraded"), &json!(true)));
    let none = json!({"openai": false, "anthropic": false, "gemini": false, "llama": false});
    assert_eq!(nobody["ai_providers"], none);
    assert!(nobody["reasons"][0].as_str().unwrap().contains("no worker"), "{nobody}");

    fleet.set("OPENAI_API_KEY", "simulated");
    fleet.ask_all_providers();
    let mut worker = fleet.worker().await;
    let all = json!({"openai": true, "anthropic": true, "gemini": true, "llama": true});
    let healthy = until_healthy(&ingress, "all", |health| health["ai_providers"] == all).await;
    assert_eq!((&healthy["status"], &healthy["reasons"]), (&json!("healthy"), &json!([])));

    // A key that is refused, and a provider that an operator pauses.
    let refused = json!({"do": "status", "status": 401, "reason": "rate"});
    let rules = json!({"rules": [{"provider": "openai", "action": refused}]});
    fleet.simulator.control(rules).await;
    let pause =
        "insert into regimen.pauses (what, name, paused_by) values ('provider', 'llama', 'test')";
    fleet.db().await.batch_execute(pause).await.unwrap();
    let (user, job) = ingress.submit_one().await;
    assert_eq!(soon("the plan", ingress.ended(user, job)).await["status"], "succeeded");
    let some = json!({"openai": false, "anthropic": true, "gemini": true, "llama": false});
    let failing = until_healthy(&ingress, "some", |health| health["ai_providers"] == some).await;
    assert_eq!(failing["status"], "healthy", "others make plans");
    let reasons = failing["reasons"].to_string();
    assert!(
        reasons.contains("openai is left alone") && reasons.contains("llama is paused"),
        "{reasons}"
    );

    // The last worker goes.
    worker.process.terminate();
    soon("the end", worker.process.wait_exit()).await;
    let gone = until_healthy(&ingress, "none", |health| health["ai_providers"] == none).await;
    assert_eq!(gone["status"], "degraded");
}

#[tokio::test]
async fn both_say_whether_they_live_and_take_work_and_why_not() {
    let fleet = Fleet::new(&[("DRAIN_SECONDS", "600"), ("SHUTDOWN_GRACE_SECONDS", "600")]).await;
    let (ingress, worker) = (fleet.ingress().await, fleet.worker().await);
    let alive = json!({"status": "alive", "ended": []});
    let ready = json!({"status": "ready", "postgres": true, "redis": true});
    assert_eq!(of_ingress(&ingress, "/livez").await, (StatusCode::OK, alive.clone()));
    assert_eq!(of_worker(&worker, "/livez").await, (StatusCode::OK, alive.clone()));
    assert_eq!(of_ingress(&ingress, "/readyz").await, (StatusCode::OK, ready.clone()));
    assert_eq!(of_worker(&worker, "/readyz").await, (StatusCode::OK, ready));

    // A table that somebody has locked: alive, and of no use.
    let mut locker = fleet.db().await;
    let lock = locker.transaction();
    lock.batch_execute("lock table regimen.jobs in access exclusive mode").await.unwrap();
    // For a second its earlier answer is valid.
    let refused = async { while of_ingress(&ingress, "/readyz").await.0 == StatusCode::OK {} };
    soon("the end of its readiness", refused).await;
    for (status, said) in
        [of_ingress(&ingress, "/readyz").await, of_worker(&worker, "/readyz").await]
    {
        assert_eq!(
            (status, &said["status"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable"))
        );
        assert_eq!((&said["postgres"], &said["redis"]), (&json!(false), &json!(true)));
        assert!(said["postgres_trouble"].as_str().unwrap().contains("lock"), "{said}");
    }
    assert_eq!(of_worker(&worker, "/livez").await, (StatusCode::OK, alive.clone()));
    let degraded = health(&ingress).await;
    assert_eq!((&degraded["status"], &degraded["database"]), (&json!("degraded"), &json!(false)));
    lock.rollback().await.unwrap();

    // A drain: no new work, and alive until the end.
    let (_, _) = fleet.one_held_job(&ingress).await;
    worker.process.terminate();
    fleet.until_draining(&worker).await;
    let (status, said) = of_worker(&worker, "/readyz").await;
    assert_eq!((status, &said["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("draining")));
    assert_eq!(of_worker(&worker, "/livez").await, (StatusCode::OK, alive));
}
