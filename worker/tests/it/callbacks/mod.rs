//! Callbacks from the real binaries to a real server: every end of a job is
//! told, once, signed, whatever fails on the way, and to nobody inside.

mod ends;
mod faults;
pub(crate) mod receiver;
mod refusals;

use regimen_common::test_support::Binary;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::ingress::{body, job_ids};
use crate::fleet::{Fleet, Ingress};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const SECRETS: &str =
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The receivers of these tests are on this machine, and failures pass soon.
pub(crate) const LOCAL: [(&str, &str); 5] = [
    ("CALLBACK_SECRETS", SECRETS),
    ("CALLBACK_ALLOW_HTTP", "true"),
    ("CALLBACK_ALLOWED_NETWORKS", "127.0.0.1/32"),
    ("CALLBACK_RETRY_SECONDS", "0.05,0.05,0.05"),
    ("CALLBACK_TIMEOUT_SECONDS", "30"),
];

/// A deployment that may call this machine, with further settings.
async fn fleet(settings: &[(&str, &str)]) -> Fleet {
    let all: Vec<_> = LOCAL.iter().chain(settings).copied().collect();
    Fleet::new(&all).await
}

/// A new user's meal plan, whose end is to be told to `url`.
async fn submit(ingress: &Ingress, url: &str) -> (Uuid, Uuid) {
    let user = Uuid::new_v4();
    (user, submit_for(ingress, user, url).await)
}

async fn submit_for(ingress: &Ingress, user: Uuid, url: &str) -> Uuid {
    let mut body = body(&["meal"]);
    body["callback_url"] = json!(url);
    submit_body(ingress, user, &body).await
}

/// The job of a body that asks for one plan and may name a server to be told.
pub(crate) async fn submit_body(ingress: &Ingress, user: Uuid, body: &Value) -> Uuid {
    let answer = ingress.door().post_plans(user, body, None).await.unwrap();
    let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
    assert_eq!(status, 202, "{body}");
    job_ids(&body)[0]
}

/// Waits until no callback waits any more, and returns the job's account of its own.
async fn settled(fleet: &Fleet, ingress: &Ingress, user: Uuid, job: Uuid) -> Value {
    ingress.ended(user, job).await;
    fleet.until_count("select count(*) from regimen.callbacks where state = 'waiting'", 0).await;
    ingress.ended(user, job).await["callback"].clone()
}

/// Waits until a worker hangs at a provider's call.
async fn hangs(fleet: &Fleet) {
    fleet.simulator.wait("open=1").await;
}

/// Kills a worker in the middle of whatever it does.
async fn kill(mut worker: Binary) {
    worker.process.kill9().await;
}
