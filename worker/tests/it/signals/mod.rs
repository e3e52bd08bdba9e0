//! What the real binaries send to Sentry and over OTLP, as a real server
//! receives it.

mod dead_ends;
mod profile;
mod recorder;
mod reports;
mod traces;

use regimen_common::test_support::Binary;
use serde_json::Value;
use uuid::Uuid;

use crate::fleet::{Fleet, Ingress, job_ids, soon};
use recorder::Recorder;

/// What a page of the front end sends along.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLICK: &str = "b7ad6b7169203331";

/// Everything is sent, and soon.
async fn watched(recorder: &Recorder, settings: &[(&str, &str)]) -> Fleet {
    let (dsn, url) = (recorder.dsn(), recorder.url.clone());
    let mut all = vec![
        ("SENTRY_DSN", dsn.as_str()),
        ("SENTRY_TRACES_SAMPLE_RATE", "1"),
        ("SENTRY_RELEASE", "regimen@test"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=of%20the+test"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    all.extend(settings);
    Fleet::new(&all).await
}

/// Submits plans with these headers beside the usual ones.
async fn submit(
    ingress: &Ingress,
    user: Uuid,
    body: &Value,
    headers: &[(&str, &str)],
) -> Vec<Uuid> {
    let mut request = ingress.door().request(reqwest::Method::POST, user, "/v1/plans").json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
    assert_eq!(status, 202, "{body}");
    job_ids(&body)
}

/// Ends a process as an operator does; what it still has to send is sent.
async fn end(mut binary: Binary) {
    binary.process.terminate();
    let status = soon("the end of a process", binary.process.wait_exit()).await;
    assert!(status.success(), "{status}");
}
