//! Every way a job can end.

use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::receiver::{Delivery, Receiver};
use super::{NEW, OLD, fleet, hangs, kill, settled, submit};
use crate::fleet::{Fleet, soon};

/// Waits for the one callback of a job and holds it against what it must be.
async fn told(receiver: &Receiver, job: Uuid, end: &str, error: Value) -> Delivery {
    let delivery = receiver.until(1).await.remove(0);
    assert_eq!(delivery.id(), format!("msg_{}", job.simple()));
    assert!(delivery.is_signed_with(OLD) && delivery.is_signed_with(NEW), "{delivery:?}");
    let told = delivery.json();
    assert_eq!(told["type"], format!("job.{end}"));
    assert_eq!(told["data"]["id"], json!(job));
    assert_eq!(told["data"]["status"], end);
    assert_eq!(told["data"]["error"], error, "{told}");
    delivery
}

async fn only_once(fleet: &Fleet, receiver: &Receiver) {
    fleet.until_count("select count(*) from regimen.callbacks where state = 'delivered'", 1).await;
    assert_eq!(receiver.deliveries().len(), 1);
}

#[tokio::test]
async fn a_plan_that_is_saved_is_told_in_the_form_of_standard_webhooks() {
    let fleet = fleet(&[]).await;
    let (ingress, receiver) = (fleet.ingress().await, Receiver::new().await);
    let (user, job) = submit(&ingress, &receiver.url).await;
    let view = ingress.door().request(reqwest::Method::GET, user, &format!("/v1/jobs/{job}"));
    let view: Value = view.send().await.unwrap().json().await.unwrap();
    assert_eq!(view["callback"], json!({"state": "pending", "attempts": 0}));
    let _worker = fleet.worker().await;
    let delivery = told(&receiver, job, "succeeded", Value::Null).await;
    let told = delivery.json();
    let links = json!({"self": format!("/v1/jobs/{job}"), "plan": "/v1/plans/meal/active"});
    assert_eq!((&told["data"]["kind"], &told["data"]["links"]), (&json!("meal"), &links));
    assert_eq!(delivery.header("content-type"), "application/json");
    let ended_at: chrono::DateTime<chrono::Utc> =
        told["timestamp"].as_str().unwrap().parse().unwrap();
    let signed_at: i64 = delivery.header("webhook-timestamp").parse().unwrap();
    assert!((0..60).contains(&(signed_at - ended_at.timestamp())), "{delivery:?}");
    // The specification's own library agrees, with either secret.
    for secret in [OLD, NEW] {
        let library = standardwebhooks::Webhook::new(secret).unwrap();
        library.verify(&delivery.body, &delivery.headers).unwrap();
    }
    let other = standardwebhooks::Webhook::new("whsec_b3RoZXItc2VjcmV0LW9mLTI0LWJ5dGVz").unwrap();
    assert!(other.verify(&delivery.body, &delivery.headers).is_err());
    let account = settled(&fleet, &ingress, user, job).await;
    assert_eq!((&account["state"], &account["attempts"]), (&json!("delivered"), &json!(1)));
    assert_eq!(account["http_status"], 204);
    only_once(&fleet, &receiver).await;
}

#[tokio::test]
async fn a_plan_that_could_not_be_made_is_told_without_what_it_is_about() {
    let fleet = fleet(&[]).await;
    let (ingress, receiver) = (fleet.ingress().await, Receiver::new().await);
    let bad = json!({"action": {"do": "status", "status": 400, "message": "peanut allergy"}});
    fleet.simulator.control(json!({ "rules": [bad] })).await;
    let _worker = fleet.worker().await;
    let (user, job) = submit(&ingress, &receiver.url).await;
    let code = soon("the end", ingress.ended(user, job)).await["error"]["code"].clone();
    let delivery = told(&receiver, job, "failed", json!({ "code": code })).await;
    assert!(!String::from_utf8_lossy(&delivery.body).contains("peanut"));
    only_once(&fleet, &receiver).await;
}

#[tokio::test]
async fn a_waiting_job_cancelled_by_an_ingress_is_told() {
    let fleet = fleet(&[]).await;
    let (ingress, receiver) = (fleet.ingress().await, Receiver::new().await);
    let (user, job) = submit(&ingress, &receiver.url).await;
    assert_eq!(ingress.cancel(user, job).await, StatusCode::ACCEPTED);
    // Nobody told the worker; it was not even there.
    let _worker = fleet.worker().await;
    told(&receiver, job, "cancelled", Value::Null).await;
    only_once(&fleet, &receiver).await;
}

#[tokio::test]
async fn a_running_job_cancelled_by_an_ingress_is_told() {
    let fleet = fleet(&[]).await;
    let (ingress, receiver) = (fleet.ingress().await, Receiver::new().await);
    fleet.simulator.control(json!({"rules": [{"action": {"do": "hang"}}]})).await;
    let _worker = fleet.worker().await;
    let (user, job) = submit(&ingress, &receiver.url).await;
    hangs(&fleet).await;
    assert_eq!(ingress.cancel(user, job).await, StatusCode::ACCEPTED);
    told(&receiver, job, "cancelled", Value::Null).await;
    only_once(&fleet, &receiver).await;
}

#[tokio::test]
async fn a_job_that_nobody_started_in_time_is_told() {
    let fleet = fleet(&[]).await;
    let (ingress, receiver) = (fleet.ingress().await, Receiver::new().await);
    let (_, job) = submit(&ingress, &receiver.url).await;
    fleet.db().await.execute("update regimen.jobs set expires_at = now()", &[]).await.unwrap();
    let _worker = fleet.worker().await;
    told(&receiver, job, "expired", json!({"code": "expired"})).await;
    only_once(&fleet, &receiver).await;
}

#[tokio::test]
async fn a_job_that_took_its_workers_down_is_told_by_another() {
    let fleet = fleet(&[("LEASE_SECONDS", "1")]).await;
    let (ingress, receiver) = (fleet.ingress().await, Receiver::new().await);
    fleet.simulator.control(json!({"rules": [{"action": {"do": "hang"}}]})).await;
    let doomed = fleet.worker().await;
    let (_, job) = submit(&ingress, &receiver.url).await;
    hangs(&fleet).await;
    // Two workers went down with it before.
    fleet.db().await.execute("update regimen.jobs set lost = 2", &[]).await.unwrap();
    kill(doomed).await;
    let _worker = fleet.worker().await;
    told(&receiver, job, "failed", json!({"code": "poisoned"})).await;
    only_once(&fleet, &receiver).await;
}
