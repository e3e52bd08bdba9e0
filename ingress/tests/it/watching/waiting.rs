//! `Prefer: wait`: the answer comes at the next change.

use std::time::{Duration, Instant};

use regimen_common::job::JobEventKind;
use reqwest::{Method, StatusCode};
use uuid::Uuid;

use super::world::{Answer, World, soon};

/// A look at a job that would wait for `seconds` and knows `tag`.
async fn wait(world: &World, job: Uuid, user: Uuid, seconds: u32, tag: Option<&str>) -> Answer {
    let request = world.request(Method::GET, &format!("/v1/jobs/{job}"), user);
    let request = request.header("prefer", format!("wait={seconds}"));
    let request = match tag {
        Some(tag) => request.header("if-none-match", tag),
        None => request,
    };
    Answer::to(request).await
}

/// Somebody waits.
async fn until_held(world: &World) {
    soon(async {
        while world.ingress.state.watching.slots.taken() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_of_the_known_version_ends_the_wait() {
    let world = World::new(&[]).await;
    let user = Uuid::now_v7();
    let job = world.job(user).await;
    let tag = world.show(job, user).await.etag();
    let (answer, _) =
        tokio::join!(wait(&world, job, user, 60, Some(&tag)), async { world.claim(job).await });
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["status"], "running");
    assert_eq!(answer.header("preference-applied"), Some("wait=60"));
    assert_ne!(answer.etag(), tag);
    // What is no longer true is news at once, however long the wait.
    let answer = wait(&world, job, user, 60, Some(&tag)).await;
    assert_eq!(answer.status, StatusCode::OK);
}

/// A look now and then would find the changes too, but no more than one of
/// these in five seconds.
#[tokio::test]
async fn a_notice_ends_the_wait_at_once() {
    let world = World::new(&[]).await;
    let begun = Instant::now();
    for _ in 0..10 {
        let user = Uuid::now_v7();
        let job = world.job(user).await;
        let tag = world.show(job, user).await.etag();
        let (answer, _) = tokio::join!(wait(&world, job, user, 60, Some(&tag)), async {
            until_held(&world).await;
            world.claim(job).await
        });
        assert_eq!(answer.body["status"], "running");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(30), "ten changes were told of in {took:?}");
}

#[tokio::test]
async fn without_a_known_version_any_change_ends_the_wait() {
    let world = World::new(&[]).await;
    let user = Uuid::now_v7();
    let job = world.job(user).await;
    let held = world.claim(job).await;
    let changes = async {
        loop {
            world.append(held, JobEventKind::Repaired).await;
        }
    };
    let answer = soon(async {
        tokio::select! {
            answer = wait(&world, job, user, 60, None) => answer,
            never = changes => never,
        }
    });
    let answer = answer.await;
    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::OK, &"running".into()));
}

#[tokio::test]
async fn a_wait_in_vain_ends_with_what_is() {
    let world = World::new(&[]).await;
    let user = Uuid::now_v7();
    let job = world.job(user).await;
    world.claim(job).await;
    let tag = world.show(job, user).await.etag();
    let answer = wait(&world, job, user, 1, Some(&tag)).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(answer.header("preference-applied"), Some("wait=1"));
    let answer = wait(&world, job, user, 1, None).await;
    assert_eq!((answer.status, answer.etag()), (StatusCode::OK, tag));
}

#[tokio::test]
async fn an_ended_job_and_a_draining_ingress_hold_nobody() {
    let world = World::new(&[]).await;
    let user = Uuid::now_v7();
    let [ended, open] = world.jobs(user, "free", 2).await[..] else { panic!("two jobs") };
    let held = world.claim(ended).await;
    world.fail(held).await;
    let answer = wait(&world, ended, user, 60, None).await;
    assert_eq!(answer.body["status"], "failed");
    // The line is closed while somebody waits on it.
    let (answer, ()) = tokio::join!(wait(&world, open, user, 60, None), async {
        until_held(&world).await;
        world.ingress.state.shutdown.drain.cancel();
    });
    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::OK, &"queued".into()));
}
