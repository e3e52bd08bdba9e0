//! One user cannot hold more lines open than its share.

use reqwest::{Method, StatusCode};
use uuid::Uuid;

use super::watched::{Answer, WatchedIngress, soon};

#[tokio::test]
async fn a_user_has_so_many_streams_and_gets_them_back() {
    let watched = WatchedIngress::new(&[("STREAMS_PER_USER", "2")]).await;
    let (ada, ben) = (Uuid::now_v7(), Uuid::now_v7());
    let (adas, bens) = (watched.job(ada).await, watched.job(ben).await);
    let first = watched.events(adas, ada, None).await;
    let second = watched.events(adas, ada, None).await;
    assert_eq!(first.response.status(), StatusCode::OK);
    assert_eq!(second.response.status(), StatusCode::OK);
    let path = format!("/v1/jobs/{adas}/events");
    let third = Answer::to(watched.request(Method::GET, &path, ada)).await;
    assert_eq!(third.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(third.body["code"], "quota-exceeded");
    assert_eq!(third.body["violated-policies"][0], "open-streams");
    assert_eq!(third.header("retry-after"), Some("5"));
    assert_eq!(watched.events(bens, ben, None).await.response.status(), StatusCode::OK);
    // The place is free as soon as the server sees that the client left.
    drop(first);
    soon(async {
        while watched.events(adas, ada, None).await.response.status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(second);
}

#[tokio::test]
async fn who_holds_enough_lines_is_answered_at_once() {
    let watched = WatchedIngress::new(&[("STREAMS_PER_USER", "1")]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let stream = watched.events(job, user, None).await;
    let request = watched.request(Method::GET, &format!("/v1/jobs/{job}"), user);
    let answer = Answer::to(request.header("prefer", "wait=60")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("preference-applied"), None);
    drop(stream);
}
