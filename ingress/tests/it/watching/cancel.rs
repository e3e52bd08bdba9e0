//! Ending a job at its owner's wish.

use reqwest::{Method, StatusCode};
use uuid::Uuid;

use super::watched::{Answer, WatchedIngress};

async fn delete(watched: &WatchedIngress, job: Uuid, user: Uuid) -> Answer {
    Answer::to(watched.request(Method::DELETE, &format!("/v1/jobs/{job}"), user)).await
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_once() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let mut stream = watched.events(job, user, None).await;
    assert_eq!(stream.next().await, (1, "accepted".to_owned()));
    let answer = delete(&watched, job, user).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.body["status"], "cancelled");
    assert!(answer.body["finished_at"].is_string());
    assert_eq!(stream.rest().await, [(2, "cancelled".to_owned())]);
    let again = delete(&watched, job, user).await;
    assert_eq!((again.status, &again.body["code"]), (StatusCode::CONFLICT, &"conflict".into()));
    let detail = again.body["detail"].as_str().unwrap();
    assert!(detail.contains("cancelled"), "{detail}");
    assert_eq!(watched.show(job, user).await.body["status"], "cancelled");
}

#[tokio::test]
async fn a_running_job_is_taken_from_its_holder() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let held = watched.claim(job).await;
    assert_eq!(delete(&watched, job, user).await.status, StatusCode::ACCEPTED);
    assert!(!watched.fail(held).await, "the holder can write no more");
    assert_eq!(watched.show(job, user).await.body["status"], "cancelled");
}

#[tokio::test]
async fn an_ended_job_stays_as_it_is() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let held = watched.claim(job).await;
    watched.fail(held).await;
    let tag = watched.show(job, user).await.etag();
    let answer = delete(&watched, job, user).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.body["detail"].as_str().unwrap().contains("failed"));
    assert_eq!(watched.show(job, user).await.etag(), tag);
}
