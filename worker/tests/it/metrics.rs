//! What both binaries export while they make plans is what their tables declare.

use std::path::Path;

use regimen_common::telemetry::metrics::COMMON;
use regimen_common::test_support::metrics::{
    assert_counted_as_declared, assert_exported_as_declared,
};
use regimen_worker::metrics::METRICS;
use serde_json::json;
use uuid::Uuid;

use crate::fleet::{Fleet, answers, soon};

#[test]
fn all_that_is_counted_is_declared_and_all_that_is_declared_is_counted() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_counted_as_declared(&src, METRICS, &[COMMON, METRICS]);
}

#[tokio::test]
async fn every_metric_of_a_worker_is_described_and_says_where_the_time_of_a_job_went() {
    let mut fleet =
        Fleet::new(&[("BUDGET_DAILY_USD", "100"), ("OPENAI_MODEL", "gpt-5.4-nano")]).await;
    fleet.ask_all_providers();
    let (ingress, worker) = tokio::join!(fleet.ingress(), fleet.worker());
    assert_exported_as_declared(&fleet.metrics(&worker).await, &[COMMON, METRICS]);

    // A refused call, an allergen that is corrected, and a plan of each kind.
    let overloaded = json!({"do": "overloaded"});
    let allergen = json!({"do": "allergen", "food": "peanut butter"});
    let rules = json!({"rules": [
        {"provider": "openai", "times": 1, "action": overloaded},
        {"provider": "openai", "times": 1, "action": allergen},
    ]});
    fleet.simulator.control(rules).await;
    let user = Uuid::new_v4();
    let body = json!({"kinds": ["meal", "workout"], "answers": answers()});
    for job in ingress.submit_body(user, &body).await {
        let view = soon("the plan", ingress.ended(user, job)).await;
        assert_eq!(view["status"], "succeeded", "{view}");
    }
    for (series, least) in [
        ("regimen_pickup_seconds_count{class=\"free\"}", 2.0),
        ("regimen_queue_wait_seconds_count{class=\"free\"}", 2.0),
        ("regimen_plan_ready_seconds_count{kind=\"meal\",class=\"free\"}", 1.0),
        ("regimen_plan_ready_seconds_count{kind=\"workout\",class=\"free\"}", 1.0),
        ("regimen_stage_seconds_count{kind=\"meal\",stage=\"claimed\"}", 1.0),
        ("regimen_stage_seconds_count{kind=\"meal\",stage=\"generating\"}", 1.0),
        ("regimen_stage_seconds_count{kind=\"meal\",stage=\"verifying\"}", 1.0),
        ("regimen_stage_seconds_count{kind=\"meal\",stage=\"saving\"}", 1.0),
        ("regimen_provider_tokens_total{provider=\"openai\",type=\"input\"}", 100.0),
        ("regimen_provider_tokens_total{provider=\"openai\",type=\"output\"}", 100.0),
        ("regimen_plan_violations_total{kind=\"meal\",class=\"allergen\"}", 0.0),
        ("regimen_slots{consumer=\"plans\"}", 8.0),
        ("regimen_budget_day_limit_micros", 100_000_000.0),
        ("regimen_budget_day_micros", 1.0),
        ("regimen_postgres_wait_seconds_count{pool=\"main\"}", 1.0),
        ("regimen_postgres_connections_max{pool=\"main\"}", 8.0),
        ("regimen_jobs_waiting{class=\"free\"}", 0.0),
        ("regimen_jobs_overdue_seconds{limit=\"lease\"}", 0.0),
        ("regimen_jobs_overdue_seconds{limit=\"start\"}", 0.0),
        (
            "regimen_model_retires_timestamp_seconds{provider=\"openai\",model=\"gpt-5.4-nano\"}",
            1_806_537_600.0,
        ),
        ("regimen_redis_trouble{trouble=\"full\"}", 0.0),
        ("regimen_event_loop_delay_seconds_count", 1.0),
    ] {
        fleet.until_metric(&worker, series, least).await;
    }
    assert_exported_as_declared(&fleet.metrics(&worker).await, &[COMMON, METRICS]);
}
