//! Attacks by health checks, which anybody may send and the flood guard lets pass.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};

use crate::harness::{Ingress, Send};
use crate::metrics::value;

/// Of each kind, at once and one after the other.
const PROBES: usize = 300;
/// The statements of the ingress itself, and those that begin with a connection.
const OTHERS: f64 = 20.0;
/// How long an answer may be out of date: a second, on a machine that is busy.
const STALE: Duration = Duration::from_secs(5);

/// The statements of the ingress so far.
async fn statements(ingress: &Ingress) -> f64 {
    value(&ingress.metrics().await, "regimen_postgres_statement_seconds_count{pool=\"main\"}")
}

async fn probe(ingress: &Ingress, path: &str) -> StatusCode {
    ingress.anonymous(Method::GET, path).answer().await.status
}

/// Sends many probes, whose readiness must be `ready`; then
/// compares what that cost with what the time allows: one statement a second for each of
/// two questions.
async fn flood(ingress: &Ingress, ready: StatusCode) {
    let (before, started) = (statements(ingress).await, Instant::now());
    for (path, expected) in [("/readyz", ready), ("/health", StatusCode::OK)] {
        let together = join_all((0..PROBES).map(|_| probe(ingress, path))).await;
        assert_eq!(together, [expected; PROBES], "{path}");
        for _ in 0..PROBES {
            assert_eq!(probe(ingress, path).await, expected, "{path}");
        }
    }
    let (asked, seconds) = (statements(ingress).await - before, started.elapsed().as_secs_f64());
    assert!(asked <= 2.0 * (seconds + 2.0) + OTHERS, "{asked} statements in {seconds} s");
}

/// Waits until readiness is `wanted`; fails when that takes longer than an answer is valid.
async fn turns(ingress: &Ingress, wanted: StatusCode) {
    let started = Instant::now();
    while probe(ingress, "/readyz").await != wanted {
        assert!(started.elapsed() < STALE, "{wanted} is overdue");
    }
}

#[tokio::test]
async fn health_checks_cost_no_more_than_a_statement_a_second_and_stay_true() {
    let ingress = Ingress::start(&[]).await;
    let db = ingress.database.client().await;
    flood(&ingress, StatusCode::OK).await;

    db.batch_execute("alter table regimen.jobs rename to jobs_away").await.unwrap();
    turns(&ingress, StatusCode::SERVICE_UNAVAILABLE).await;
    flood(&ingress, StatusCode::SERVICE_UNAVAILABLE).await;

    db.batch_execute("alter table regimen.jobs_away rename to jobs").await.unwrap();
    turns(&ingress, StatusCode::OK).await;
    // Nor does a stranger decide how much is logged.
    ingress.await_log("ready again");
    assert_eq!(ingress.logs().matches("\"not ready\"").count(), 1, "{}", ingress.logs());
}
