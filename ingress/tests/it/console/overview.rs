//! The overview: what is now, what was, what needs somebody.

use regimen_common::db::console::ConsoleRole;
use reqwest::Method;

use super::browser::Browser;
use super::looking::{fail, submitted};
use crate::harness::Ingress;
use uuid::Uuid;

#[tokio::test]
async fn numbers_charts_and_alerts_are_those_of_the_tables() {
    let ingress = Ingress::start(&[("BUDGET_DAILY_USD", "12.5")]).await;
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    let page = viewer.get("/console").await;
    assert!(
        page.text.contains("No worker is alive") && page.text.contains("of 12.50 USD"),
        "{page:?}"
    );
    let [id, _] = submitted(&ingress, Uuid::new_v4()).await;
    fail(&ingress.database, id, "x").await;
    let client = ingress.database.client().await;
    client
        .batch_execute(
            "insert into regimen.workers (worker_id, version, host, pid, slots, held, draining)
             values ('w', '1', 'h', 1, 64, 0, false);
             insert into regimen.models_in_use (worker_id, provider, model, left_alone, retires_on,
                 warn_from, successor, blocked_by, seen_at)
             values ('w', 'openai', 'gpt-old', true, current_date + 3, current_date, 'gpt-new',
                     'breaker', now()),
                 ('w', 'gemini', 'g', false, null, null, null, null, now()),
                 ('w', 'llama', 'l', false, null, null, null, 'cool-down', now()),
                 ('v', 'llama', 'l', true, null, null, null, 'breaker', now());
             insert into regimen.pauses (what, name, paused_by) values ('provider', 'gemini', 'ana');
             insert into regimen.stats_minutely (minute, accepted, succeeded, failed, expired,
                 cancelled, counted, in_time, wait, generation, whole)
             select date_trunc('minute', now()) - interval '2 minutes', 44, 33, 1, 0, 0, 200, 199,
                 '{\"3\": 10}', '{\"20\": 10}', '{\"21\": 10}';
             insert into regimen.stats_providers (minute, provider, calls, cost_micros, outcomes,
                 latency)
             select date_trunc('minute', now()) - interval '2 minutes', 'openai', 40, 5000,
                 '{\"ok\": 30, \"timeout\": 7, \"invalid\": 3}', '{\"20\": 40}'",
        )
        .await
        .unwrap();
    for span in ["", "?span=24h", "?span=30d", "?span=nonsense"] {
        let page = viewer.get(&format!("/console{span}")).await;
        assert!(page.status == 200 && page.text.len() < 100_000, "{span}: {page:?}");
        for seen in [
            "99.50 %",
            "50 % of the error budget left",
            "Provider gemini is paused",
            "Provider openai fails",
            "Model gpt-old of openai retires on",
            "successor is gpt-new",
            "timeout 7, invalid 3",
            "25.0 %",
            "<polyline",
            "<td class=\"number\">44</td>",
            "1 workers, 0 draining",
            "open in 1 of 1 workers",
            "open in 1 of 2 workers",
            "in 1 of 2 workers",
            "tag cooling",
            "h:1",
        ] {
            assert!(page.text.contains(seen), "{span}: {seen}: {page:?}");
        }
    }
    let live = viewer.request(Method::GET, "/console/live?span=1h");
    let mut live = live.send().await.unwrap();
    let mut heard = String::new();
    // Until the newest whole part has, or lacks, the alert.
    let mut until = async |has: bool| {
        let newest = |heard: &str| heard.rsplit("event: part").next().unwrap().to_owned();
        while !newest(&heard).contains("Providers, last hour")
            || newest(&heard).contains("Provider gemini is paused") != has
        {
            heard.push_str(&String::from_utf8_lossy(&live.chunk().await.unwrap().unwrap()));
        }
    };
    until(true).await;
    client.batch_execute("delete from regimen.pauses").await.unwrap();
    until(false).await;
}
