//! A job's events as they happen, from any point on.

use futures_util::future::join_all;
use regimen_common::job::JobEventKind;
use reqwest::{Method, StatusCode};
use uuid::Uuid;

use super::watched::{Stream, WatchedIngress};

#[tokio::test]
async fn a_jobs_whole_life_is_streamed_as_it_happens() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let mut stream = watched.events(job, user, None).await;
    assert_eq!(stream.response.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.response.headers()["cache-control"], "no-store, no-transform");
    assert_eq!(stream.response.headers()["x-accel-buffering"], "no");
    let greeting = stream.frame().await.unwrap().retry.unwrap();
    assert!((1_000..2_000).contains(&greeting), "{greeting}");
    let accepted = stream.event().await.unwrap();
    assert_eq!((accepted.id, accepted.event.as_str()), (Some(1), "accepted"));
    assert_eq!(accepted.data["seq"], 1);
    assert_eq!(accepted.data["kind"], "accepted");
    assert!(accepted.data["at"].is_string());
    let held = watched.claim(job).await;
    assert_eq!(stream.next().await, (2, "claimed".to_owned()));
    watched.ask(held, "openai").await;
    let asked = stream.event().await.unwrap();
    assert_eq!(asked.event, "attempt_started");
    assert_eq!(asked.data["data"]["provider"], "openai");
    watched.append(held, JobEventKind::AttemptFailed).await;
    assert_eq!(stream.next().await, (4, "attempt_failed".to_owned()));
    watched.fail(held).await;
    assert_eq!(stream.next().await, (5, "failed".to_owned()));
    assert_eq!(stream.frame().await, None, "nothing follows the end");
}

#[tokio::test]
async fn a_client_resumes_where_it_was_by_header_or_query() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let held = watched.claim(job).await;
    watched.append(held, JobEventKind::Verifying).await;
    watched.fail(held).await;
    let path = format!("/v1/jobs/{job}/events");
    let open = |path: String, header: Option<&str>| {
        let request = watched.request(Method::GET, &path, user);
        match header {
            Some(last) => request.header("last-event-id", last),
            None => request,
        }
    };
    for (query, header, first) in [
        ("", None, 1),
        ("", Some("0"), 1),
        ("", Some("2"), 3),
        ("?last_event_id=3", None, 4),
        ("?last_event_id=", None, 1),
        ("?last_event_id=1", Some("3"), 4),
        // Not reached by this job, so not from its stream.
        ("", Some("57"), 1),
    ] {
        let mut stream = Stream::open(open(format!("{path}{query}"), header)).await;
        let got: Vec<i32> = stream.rest().await.into_iter().map(|(id, _)| id).collect();
        assert_eq!(got, (first..=4).collect::<Vec<_>>(), "{query} {header:?}");
    }
    // What is no id says nothing: from the beginning, or as the query says.
    for nonsense in ["", "undefined", "null", "NaN", "abc", "-1", "1.5", "99999999999", "1e3"] {
        for (query, first) in [("", 1), ("?last_event_id=2", 3), ("?last_event_id=undefined", 1)] {
            let mut stream = Stream::open(open(format!("{path}{query}"), Some(nonsense))).await;
            let got: Vec<i32> = stream.rest().await.into_iter().map(|(id, _)| id).collect();
            assert_eq!(got, (first..=4).collect::<Vec<_>>(), "{query} {nonsense:?}");
        }
        let query = format!("{path}?last_event_id={nonsense}");
        let mut stream = Stream::open(open(query, Some("2"))).await;
        assert_eq!(stream.rest().await.first().unwrap().0, 3, "{nonsense} beside a good header");
    }
}

#[tokio::test]
async fn who_has_everything_of_an_ended_job_is_told_not_to_come_back() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let held = watched.claim(job).await;
    watched.fail(held).await;
    let stream = watched.events(job, user, Some(3)).await;
    assert_eq!(stream.response.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn silence_is_filled_with_heartbeats() {
    let watched = WatchedIngress::new(&[("STREAM_HEARTBEAT_SECONDS", "0.05")]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let mut stream = watched.events(job, user, Some(1)).await;
    assert!(stream.frame().await.unwrap().retry.is_some());
    for _ in 0..3 {
        assert!(stream.frame().await.unwrap().comment);
    }
    watched.claim(job).await;
    assert_eq!(stream.next().await, (2, "claimed".to_owned()));
}

#[tokio::test]
async fn a_resumed_stream_of_a_job_that_ends_meanwhile_ends_too() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let held = watched.claim(job).await;
    let mut stream = watched.events(job, user, Some(2)).await;
    assert!(stream.frame().await.unwrap().retry.is_some());
    watched.fail(held).await;
    assert_eq!(stream.rest().await, [(3, "failed".to_owned())]);
}

#[tokio::test]
async fn a_job_that_is_pruned_ends_its_streams() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let mut stream = watched.events(job, user, None).await;
    assert_eq!(stream.next().await, (1, "accepted".to_owned()));
    watched.sql("delete from regimen.jobs").await;
    assert_eq!(stream.rest().await, []);
}

#[tokio::test]
async fn all_streams_of_a_process_share_one_subscription() {
    let watched = WatchedIngress::new(&[("STREAMS_PER_USER", "1000")]).await;
    let user = Uuid::now_v7();
    let jobs = watched.jobs(user, "free", 20).await;
    let open = jobs.iter().flat_map(|job| (0..10).map(|_| watched.events(*job, user, None)));
    let mut streams = join_all(open).await;
    for stream in &mut streams {
        assert_eq!(stream.next().await, (1, "accepted".to_owned()));
    }
    let store = &watched.ingress.state.redis;
    let channel = store.key("job-notices");
    let heard: (String, i64) =
        store.query(redis::cmd("PUBSUB").arg("NUMSUB").arg(&channel)).await.unwrap();
    assert_eq!(heard, (channel, 1));
    // One job's event reaches its ten streams, and no other.
    let held = watched.claim(jobs[7]).await;
    for stream in &mut streams[70..80] {
        assert_eq!(stream.next().await, (2, "claimed".to_owned()));
    }
    watched.fail(held).await;
    for stream in &mut streams[70..80] {
        assert_eq!(stream.rest().await, [(3, "failed".to_owned())]);
    }
    watched.claim(jobs[8]).await;
    for stream in &mut streams[80..90] {
        assert_eq!(stream.next().await, (2, "claimed".to_owned()));
    }
}
