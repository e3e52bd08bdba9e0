//! A stream is resumed at another ingress when its own stops or dies.

use regimen_common::test_support::Binary;
use reqwest::{Client, StatusCode};
use uuid::Uuid;

use super::watched::{Stream, WatchedIngress};
use regimen_common::job::JobEventKind;

/// An ingress process beside the watched's own.
async fn another(watched: &WatchedIngress) -> Binary {
    let settings = [
        ("ENVIRONMENT", "development"),
        ("AUTH_MODE", "off"),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("METRICS_ADDR", "127.0.0.1:0"),
        ("DATABASE_URL", watched.database.url()),
        ("REDIS_URL", watched.redis.url()),
        ("REDIS_PREFIX", watched.redis.prefix()),
        // Longer than any test waits: what ends a stream is not that its time is up.
        ("SHUTDOWN_GRACE_SECONDS", "3600"),
    ];
    Binary::start("regimen-ingress", settings).await
}

async fn open(ingress: &Binary, job: Uuid, user: Uuid, last: Option<i32>) -> Stream {
    let url = format!("{}/v1/jobs/{job}/events", ingress.address("INGRESS_URL"));
    let request = Client::builder().build().unwrap().get(url).header("x-user-id", user.to_string());
    Stream::open(match last {
        Some(last) => request.header("last-event-id", last.to_string()),
        None => request,
    })
    .await
}

#[tokio::test]
async fn a_stream_outlives_the_ingress_it_began_at() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let (mut first, mut second) = (another(&watched).await, another(&watched).await);

    let mut stream = open(&first, job, user, None).await;
    assert_eq!(stream.next().await, (1, "accepted".to_owned()));
    let held = watched.claim(job).await;
    assert_eq!(stream.next().await, (2, "claimed".to_owned()));
    // An orderly stop ends the stream at once instead of waiting for the job.
    first.process.terminate();
    assert_eq!(stream.rest().await, []);
    assert!(first.process.wait_exit().await.success());

    watched.append(held, JobEventKind::Verifying).await;
    let mut stream = open(&second, job, user, Some(2)).await;
    assert_eq!(stream.next().await, (3, "verifying".to_owned()));
    second.process.kill9().await;
    assert_eq!(stream.rest().await, []);

    watched.append(held, JobEventKind::Repaired).await;
    watched.fail(held).await;
    let third = another(&watched).await;
    let mut stream = open(&third, job, user, Some(3)).await;
    assert_eq!(stream.rest().await, [(4, "repaired".to_owned()), (5, "failed".to_owned())]);
    let stream = open(&third, job, user, Some(5)).await;
    assert_eq!(stream.response.status(), StatusCode::NO_CONTENT);
}
