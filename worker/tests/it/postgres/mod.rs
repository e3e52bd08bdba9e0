//! A Postgres that is not simply away: it stalls, refuses, changes its role,
//! or stands behind a pooler.

mod pooler;
mod refusals;
mod stalls;

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use crate::fleet::ingress::body;
use crate::fleet::{Ingress, PATIENCE, soon};

/// The limit of a request and what a loaded machine adds to it.
const LIMIT: Duration = Duration::from_secs(5 + 4);

/// Submits one meal plan; whatever comes of it comes within the limit.
async fn try_submit(ingress: &Ingress, user: Uuid) -> Response {
    let started = Instant::now();
    let answer = ingress.door().post_plans(user, &body(&["meal"]), Some("key")).await.unwrap();
    let took = started.elapsed();
    assert!(took < LIMIT, "{} took {took:?}", answer.status());
    answer
}

/// That a refusal is one that passes.
async fn assert_passing(answer: Response) {
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let pause: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&pause), "{pause}");
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "unavailable");
}

/// Submits as a client does that follows `Retry-After`, until it is accepted.
async fn submit_until_accepted(ingress: &Ingress, user: Uuid) -> Uuid {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = try_submit(ingress, user).await;
        if answer.status() == StatusCode::ACCEPTED {
            return crate::fleet::ingress::job_ids(&answer.json().await.unwrap())[0];
        }
        assert_passing(answer).await;
        assert!(Instant::now() < deadline, "never accepted");
    }
}

async fn gets_a_plan(ingress: &Ingress) {
    let user = Uuid::new_v4();
    let job = submit_until_accepted(ingress, user).await;
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
}

async fn is_ready(ingress: &Ingress) -> bool {
    let request = ingress.door().request(Method::GET, Uuid::new_v4(), "/readyz");
    request.send().await.unwrap().status() == StatusCode::OK
}

async fn until_ready(ingress: &Ingress, wanted: bool) {
    let asking = async { while is_ready(ingress).await != wanted {} };
    soon(if wanted { "readiness" } else { "its end" }, asking).await;
}
