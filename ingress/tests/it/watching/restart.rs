//! A stream is resumed at another ingress when its own stops or dies.

use regimen_common::test_support::Binary;
use reqwest::{Client, StatusCode};
use uuid::Uuid;

use super::world::{Stream, World};
use regimen_common::job::JobEventKind;

/// An ingress process beside the world's own.
async fn another(world: &World) -> Binary {
    let settings = [
        ("ENVIRONMENT", "development"),
        ("AUTH_MODE", "off"),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("METRICS_ADDR", "127.0.0.1:0"),
        ("DATABASE_URL", world.database.url()),
        ("REDIS_URL", world.redis.url()),
        ("REDIS_PREFIX", world.redis.prefix()),
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
    let world = World::new(&[]).await;
    let user = Uuid::now_v7();
    let job = world.job(user).await;
    let (mut first, mut second) = (another(&world).await, another(&world).await);

    let mut stream = open(&first, job, user, None).await;
    assert_eq!(stream.next().await, (1, "accepted".to_owned()));
    let held = world.claim(job).await;
    assert_eq!(stream.next().await, (2, "claimed".to_owned()));
    // An orderly stop ends the stream at once instead of waiting for the job.
    first.process.terminate();
    assert_eq!(stream.rest().await, []);
    assert!(first.process.wait_exit().await.success());

    world.append(held, JobEventKind::Verifying).await;
    let mut stream = open(&second, job, user, Some(2)).await;
    assert_eq!(stream.next().await, (3, "verifying".to_owned()));
    second.process.kill9().await;
    assert_eq!(stream.rest().await, []);

    world.append(held, JobEventKind::Repaired).await;
    world.fail(held).await;
    let third = another(&world).await;
    let mut stream = open(&third, job, user, Some(3)).await;
    assert_eq!(stream.rest().await, [(4, "repaired".to_owned()), (5, "failed".to_owned())]);
    let stream = open(&third, job, user, Some(5)).await;
    assert_eq!(stream.response.status(), StatusCode::NO_CONTENT);
}
