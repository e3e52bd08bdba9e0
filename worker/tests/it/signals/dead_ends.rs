//! A Sentry and a collector that take connections and never answer, or are
//! not there at all: requests and jobs go on as if they were not set.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::recorder::{Recorder, Then};
use super::{end, submit};
use crate::fleet::ingress::body;
use crate::fleet::{Fleet, soon};

/// More than a request takes on a busy machine, and far less than any time-out
/// of an export.
const PROMPT: Duration = Duration::from_secs(3);
/// What a process may add to its end to send the rest; docs/traces.md says eight seconds.
const FLUSHES: Duration = Duration::from_secs(10);

async fn goes_on(url: &str) {
    let dsn = format!("{}/1", url.replace("http://", "http://public@"));
    let settings = [
        ("SENTRY_DSN", dsn.as_str()),
        ("SENTRY_TRACES_SAMPLE_RATE", "1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        // Full at once.
        ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
    ];
    let fleet = Fleet::new(&settings).await;
    let (ingress, worker) = (fleet.ingress().await, fleet.worker().await);
    for _ in 0..60 {
        let (user, asked) = (Uuid::new_v4(), Instant::now());
        let job = submit(&ingress, user, &body(&["meal"]), &[]).await[0];
        let took = asked.elapsed();
        assert!(took < PROMPT, "a request took {took:?}");
        assert_eq!(soon("the plan", ingress.ended(user, job)).await["status"], "succeeded");
        let took = asked.elapsed();
        assert!(took < 2 * PROMPT, "a job took {took:?}");
    }
    for binary in [ingress.binary, worker] {
        let asked = Instant::now();
        end(binary).await;
        assert!(asked.elapsed() < FLUSHES, "the end took {:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn silent_receivers_hold_up_nobody() {
    let silent = Recorder::start(Then::Silence).await;
    goes_on(&silent.url).await;
    let paths: Vec<_> = silent.received().into_iter().map(|request| request.path).collect();
    assert!(paths.contains(&"/v1/traces".to_owned()), "{paths:?}");
    assert!(paths.contains(&"/api/1/envelope/".to_owned()), "{paths:?}");
}

#[tokio::test]
async fn receivers_that_are_not_there_hold_up_nobody() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    goes_on(&url).await;
}
