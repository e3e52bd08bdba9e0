//! What the ingress exports is what its tables declare, whatever clients send.

use std::path::Path;

use regimen_common::telemetry::metrics::COMMON;
use regimen_common::test_support::metrics::{
    assert_counted_as_declared, assert_exported_as_declared,
};
use regimen_ingress::metrics::METRICS;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::harness::{Ingress, Send, plans};

/// The value of the only series that begins so.
pub(crate) fn value(page: &str, series: &str) -> f64 {
    let mut lines = page.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = lines.next().unwrap_or_else(|| panic!("no {series} in\n{page}"));
    value.parse().unwrap()
}

#[test]
fn all_that_is_counted_is_declared_and_all_that_is_declared_is_counted() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_counted_as_declared(&src, METRICS, &[COMMON, METRICS]);
}

#[tokio::test]
async fn every_metric_is_described_and_no_client_makes_a_label() {
    let ingress = Ingress::start(&[("FORWARDED_HEADER", "forwarded")]).await;
    assert_exported_as_declared(&ingress.metrics().await, &[COMMON, METRICS]);
    let user = Uuid::new_v4();
    for n in 0..5 {
        let path = format!("/made-up-{n}/{user}");
        ingress.get(&path, user).await;
        let method = Method::from_bytes(format!("MADEUP{n}").as_bytes()).unwrap();
        ingress.request(method, "/v1/plans", user).answer().await;
        let body = json!({"kinds": ["meal"], "answers": {"age": "made-up"}, "model": "made-up"});
        ingress.post("/v1/plans", user, &body).await;
        ingress.get(&format!("/v1/jobs/{}", Uuid::new_v4()), user).await;
        let unsigned = ingress.anonymous(Method::POST, "/api/stripe/webhook").body("{}");
        unsigned.header("stripe-signature", "made-up").answer().await;
    }
    let page = ingress.metrics().await;
    assert_exported_as_declared(&page, &[COMMON, METRICS]);
    let told = page.to_ascii_lowercase();
    assert!(!told.contains("made-up") && !told.contains("madeup"), "{page}");
    assert!(!page.contains(&user.to_string()), "{page}");
    let unmatched =
        "regimen_http_requests_total{route=\"unmatched\",method=\"GET\",status=\"404\"}";
    assert_eq!(value(&page, unmatched), 5.0);
    let unmatched = "regimen_http_request_seconds_count{route=\"unmatched\",method=\"GET\",\
                     status_class=\"4xx\"}";
    assert_eq!(value(&page, unmatched), 5.0);
}

#[tokio::test]
async fn the_process_its_stores_and_its_waiting_clients_are_measured() {
    let ingress = Ingress::start(&[]).await;
    ingress.get("/readyz", Uuid::nil()).await;
    let page = ingress.metrics().await;
    #[cfg(target_os = "linux")]
    {
        let resident = ingress.resident_kilobytes() as f64 * 1024.0;
        let told = value(&page, "process_resident_memory_bytes");
        assert!((0.5..2.0).contains(&(told / resident)), "{told} and {resident}");
        assert!(value(&page, "process_open_fds") > 5.0);
        assert!(value(&page, "process_max_fds") >= value(&page, "process_open_fds"));
        assert!(value(&page, "process_start_time_seconds") > 1.7e9);
    }
    assert!(value(&page, "regimen_event_loop_delay_seconds_count") >= 0.0);
    let used = value(&page, "regimen_postgres_connections{pool=\"main\",state=\"used\"}");
    let idle = value(&page, "regimen_postgres_connections{pool=\"main\",state=\"idle\"}");
    assert!((1.0..=16.0).contains(&(used + idle)), "{used} used, {idle} idle");
    assert_eq!(value(&page, "regimen_postgres_connections_max{pool=\"main\"}"), 8.0);
    for count in [
        "regimen_postgres_wait_seconds_count{pool=\"main\"}",
        "regimen_postgres_statement_seconds_count{pool=\"main\"}",
        "regimen_redis_command_seconds_count",
    ] {
        assert!(value(&page, count) >= 1.0, "{count}");
    }

    let user = Uuid::new_v4();
    let accepted = ingress.post("/v1/plans", user, &plans()).await;
    let job = accepted.body["jobs"][0]["id"].as_str().unwrap().to_owned();
    let streams =
        [0, 1].map(|_| ingress.request(Method::GET, &format!("/v1/jobs/{job}/events"), user));
    let [one, two] = streams.map(reqwest::RequestBuilder::send);
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    assert_eq!(value(&ingress.metrics().await, "regimen_event_streams_open"), 2.0);
    drop((one, two));
    while value(&ingress.metrics().await, "regimen_event_streams_open") > 0.0 {}
}
