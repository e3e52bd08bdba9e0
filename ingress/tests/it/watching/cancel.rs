//! Ending a job at its owner's wish.

use reqwest::{Method, StatusCode};
use uuid::Uuid;

use super::world::{Answer, World};

async fn delete(world: &World, job: Uuid, user: Uuid) -> Answer {
    Answer::to(world.request(Method::DELETE, &format!("/v1/jobs/{job}"), user)).await
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_once() {
    let world = World::new(&[]).await;
    let user = Uuid::now_v7();
    let job = world.job(user).await;
    let mut stream = world.events(job, user, None).await;
    assert_eq!(stream.next().await, (1, "accepted".to_owned()));
    let answer = delete(&world, job, user).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.body["status"], "cancelled");
    assert!(answer.body["finished_at"].is_string());
    assert_eq!(stream.rest().await, [(2, "cancelled".to_owned())]);
    let again = delete(&world, job, user).await;
    assert_eq!((again.status, &again.body["code"]), (StatusCode::CONFLICT, &"conflict".into()));
    let detail = again.body["detail"].as_str().unwrap();
    assert!(detail.contains("cancelled"), "{detail}");
    assert_eq!(world.show(job, user).await.body["status"], "cancelled");
}

#[tokio::test]
async fn a_running_job_is_taken_from_its_holder() {
    let world = World::new(&[]).await;
    let user = Uuid::now_v7();
    let job = world.job(user).await;
    let held = world.claim(job).await;
    assert_eq!(delete(&world, job, user).await.status, StatusCode::ACCEPTED);
    assert!(!world.fail(held).await, "the holder can write no more");
    assert_eq!(world.show(job, user).await.body["status"], "cancelled");
}

#[tokio::test]
async fn an_ended_job_stays_as_it_is() {
    let world = World::new(&[]).await;
    let user = Uuid::now_v7();
    let job = world.job(user).await;
    let held = world.claim(job).await;
    world.fail(held).await;
    let tag = world.show(job, user).await.etag();
    let answer = delete(&world, job, user).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.body["detail"].as_str().unwrap().contains("failed"));
    assert_eq!(world.show(job, user).await.etag(), tag);
}
