//! `Prefer: wait`: the answer comes at the next change.

use std::time::{Duration, Instant};

use regimen_common::job::JobEventKind;
use reqwest::{Method, StatusCode};
use uuid::Uuid;

use super::watched::{Answer, WatchedIngress, soon};

/// A look at a job that would wait for `seconds` and knows `tag`.
async fn wait(
    watched: &WatchedIngress,
    job: Uuid,
    user: Uuid,
    seconds: u32,
    tag: Option<&str>,
) -> Answer {
    let request = watched.request(Method::GET, &format!("/v1/jobs/{job}"), user);
    let request = request.header("prefer", format!("wait={seconds}"));
    let request = match tag {
        Some(tag) => request.header("if-none-match", tag),
        None => request,
    };
    Answer::to(request).await
}

/// Somebody waits.
async fn until_held(watched: &WatchedIngress) {
    soon(async {
        while watched.ingress.state.watching.slots.taken() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_of_the_known_version_ends_the_wait() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let tag = watched.show(job, user).await.etag();
    let (answer, _) =
        tokio::join!(wait(&watched, job, user, 60, Some(&tag)), async { watched.claim(job).await });
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["status"], "running");
    assert_eq!(answer.header("preference-applied"), Some("wait=60"));
    assert_ne!(answer.etag(), tag);
    // What is no longer true is news at once, however long the wait.
    let answer = wait(&watched, job, user, 60, Some(&tag)).await;
    assert_eq!(answer.status, StatusCode::OK);
}

/// A look now and then would find the changes too, but no more than one of
/// these in five seconds.
#[tokio::test]
async fn a_notice_ends_the_wait_at_once() {
    let watched = WatchedIngress::new(&[]).await;
    let begun = Instant::now();
    for _ in 0..10 {
        let user = Uuid::now_v7();
        let job = watched.job(user).await;
        let tag = watched.show(job, user).await.etag();
        let (answer, _) = tokio::join!(wait(&watched, job, user, 60, Some(&tag)), async {
            until_held(&watched).await;
            watched.claim(job).await
        });
        assert_eq!(answer.body["status"], "running");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(30), "ten changes were told of in {took:?}");
}

#[tokio::test]
async fn without_a_known_version_any_change_ends_the_wait() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let held = watched.claim(job).await;
    let changes = async {
        loop {
            watched.append(held, JobEventKind::Repaired).await;
        }
    };
    let answer = soon(async {
        tokio::select! {
            answer = wait(&watched, job, user, 60, None) => answer,
            never = changes => never,
        }
    });
    let answer = answer.await;
    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::OK, &"running".into()));
}

#[tokio::test]
async fn a_wait_in_vain_ends_with_what_is() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    watched.claim(job).await;
    let tag = watched.show(job, user).await.etag();
    let answer = wait(&watched, job, user, 1, Some(&tag)).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(answer.header("preference-applied"), Some("wait=1"));
    let answer = wait(&watched, job, user, 1, None).await;
    assert_eq!((answer.status, answer.etag()), (StatusCode::OK, tag));
}

#[tokio::test]
async fn an_ended_job_and_a_draining_ingress_hold_nobody() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let [ended, open] = watched.jobs(user, "free", 2).await[..] else { panic!("two jobs") };
    let held = watched.claim(ended).await;
    watched.fail(held).await;
    let answer = wait(&watched, ended, user, 60, None).await;
    assert_eq!(answer.body["status"], "failed");
    // The line is closed while somebody waits on it.
    let (answer, ()) = tokio::join!(wait(&watched, open, user, 60, None), async {
        until_held(&watched).await;
        watched.ingress.state.shutdown.drain.cancel();
    });
    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::OK, &"queued".into()));
}
