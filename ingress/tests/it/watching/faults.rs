//! Watching goes on when notices are lost and while Redis is away.

use regimen_common::job::JobEventKind;
use regimen_common::test_support::PrivateRedis;
use reqwest::{Method, StatusCode};
use uuid::Uuid;

use super::watched::{Answer, WatchedIngress};

#[tokio::test]
async fn a_lost_notice_only_costs_time() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let mut stream = watched.events(job, user, None).await;
    assert_eq!(stream.next().await, (1, "accepted".to_owned()));
    let (held, _) = watched.claim_silently(job).await;
    assert_eq!(stream.next().await, (2, "claimed".to_owned()));
    // A notice that comes too early or twice changes nothing.
    watched.tell(job, 9, JobEventKind::Saved).await;
    watched.tell(job, 9, JobEventKind::Saved).await;
    watched.append(held, JobEventKind::Verifying).await;
    assert_eq!(stream.next().await, (3, "verifying".to_owned()));
}

#[tokio::test]
async fn while_redis_is_away_everything_can_still_be_watched() {
    let mut redis = PrivateRedis::start().await;
    let url = redis.url();
    let watched = WatchedIngress::new(&[("REDIS_URL", &url)]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let mut stream = watched.events(job, user, None).await;
    assert_eq!(stream.next().await, (1, "accepted".to_owned()));
    redis.kill9().await;
    let (held, _) = watched.claim_silently(job).await;
    assert_eq!(stream.next().await, (2, "claimed".to_owned()));
    let tag = watched.show(job, user).await.etag();
    let request = watched.request(Method::GET, &format!("/v1/jobs/{job}"), user);
    let wait = request.header("prefer", "wait=60").header("if-none-match", tag);
    let (answer, ended) = tokio::join!(Answer::to(wait), watched.fail(held));
    assert!(ended);
    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::OK, &"failed".into()));
    assert_eq!(stream.rest().await, [(3, "failed".to_owned())]);
    // A stream may begin without Redis, and goes on with it.
    let job = watched.job(user).await;
    let mut stream = watched.events(job, user, None).await;
    assert_eq!(stream.next().await, (1, "accepted".to_owned()));
    redis.restart().await;
    watched.claim(job).await;
    assert_eq!(stream.next().await, (2, "claimed".to_owned()));
}
