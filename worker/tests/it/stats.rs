//! What happened each minute is counted by one of the workers while plans are made.

use crate::fleet::{Fleet, soon};

#[tokio::test]
async fn minutes_are_counted_by_one_worker_at_a_time() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let _workers = [fleet.worker().await, fleet.worker().await];
    let (user, job) = ingress.submit_one().await;
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    let sum = |column: &str, table: &str| {
        format!("select coalesce(sum({column}), 0)::bigint from regimen.{table}")
    };
    fleet.until_count(&sum("succeeded", "stats_minutely"), 1).await;
    fleet.until_count(&sum("accepted", "stats_minutely"), 1).await;
    fleet.until_count(&sum("calls", "stats_providers"), 1).await;
    // The day before the first run is counted, too, each minute once.
    let minutes = "select count(*) from regimen.stats_minutely";
    assert!(fleet.count(minutes).await >= 1_440);
    // The day's revenue, of nobody yet, by the same worker.
    fleet.until_count("select count(*) from regimen.revenue_days where mrr = '{}'", 1).await;
}
