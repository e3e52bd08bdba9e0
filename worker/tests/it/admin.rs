//! `regimen-worker admin …`, the real binary, on a deployment that works: what it says is
//! true, what it does takes effect, and each change is recorded.

use regimen_common::job::JobClass;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::fleet::{Fleet, PATIENCE, soon};

/// What a command answers that succeeds, as JSON.
async fn admin(fleet: &Fleet, args: &[&str]) -> Value {
    let all: Vec<&str> = ["admin"].iter().chain(args).chain(&["--json"]).copied().collect();
    let (code, said) = fleet.command(&all).await;
    assert_eq!(code, Some(0), "{args:?}: {said}");
    serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{args:?}: {said}"))
}

/// The same as people see it.
async fn text(fleet: &Fleet, args: &[&str]) -> String {
    let all: Vec<&str> = ["admin"].iter().chain(args).copied().collect();
    let (code, said) = fleet.command(&all).await;
    assert_eq!(code, Some(0), "{args:?}: {said}");
    said
}

/// Who did what to what and why, newest first.
async fn audit(fleet: &Fleet) -> Vec<String> {
    let actions = admin(fleet, &["audit"]).await;
    let word = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
    let line = |row: &Value| {
        let reason = row["detail"]["reason"].as_str().unwrap_or("-");
        format!("{} {} {} {reason}", word(row, "actor"), word(row, "action"), word(row, "outcome"))
    };
    actions["actions"].as_array().unwrap().iter().map(line).collect()
}

/// Jobs that failed for this reason.
async fn failed(fleet: &Fleet, count: usize, code: &str) -> Vec<Uuid> {
    let user = fleet.profile().await;
    let jobs = fleet.accept(user, JobClass::Free, count).await;
    let sql = "update regimen.jobs set state = 'failed', stage = 'done', finished_at = now(),
                   dispatched_at = null, error_code = $2, error_detail = 'as a test'
               where id = any($1)";
    fleet.db().await.execute(sql, &[&jobs, &code]).await.unwrap();
    jobs
}

#[tokio::test]
async fn jobs_are_listed_shown_retried_and_cancelled_by_what_they_have_in_common() {
    let fleet = Fleet::new(&[]).await;
    let (ingress, _worker) = tokio::join!(fleet.ingress(), fleet.worker());
    let exhausted = failed(&fleet, 3, "providers_exhausted").await;
    let refused = failed(&fleet, 1, "refused").await[0];
    let list = ["jobs", "list", "--state", "failed", "--code", "providers_exhausted"];
    let listed = admin(&fleet, &list).await;
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 3, "{listed}");
    let shown = admin(&fleet, &["jobs", "show", &refused.to_string()]).await;
    assert_eq!(shown["error_code"], "refused");
    assert_eq!(shown["events"][0]["kind"], "accepted", "{shown}");
    assert!(text(&fleet, &list).await.contains(&exhausted[0].to_string()));

    let who = ["--as", "ana", "--reason", "the provider is back"];
    let retry = ["jobs", "retry", "--code", "providers_exhausted"];
    let done = admin(&fleet, &[&retry[..], &who[..]].concat()).await;
    assert_eq!(done["outcomes"].as_array().unwrap().len(), 3, "{done}");
    let plans = "select count(*) from regimen.jobs where state = 'succeeded'";
    fleet.until_count(plans, 3).await;
    let again = admin(&fleet, &["jobs", "retry", &exhausted[0].to_string()]).await;
    assert!(again["outcomes"][0]["text"].as_str().unwrap().contains("retried before"), "{again}");
    assert_eq!(fleet.count(plans).await, 3);

    let (_, job) = fleet.one_held_job(&ingress).await;
    let ids = [job.to_string(), refused.to_string(), Uuid::new_v4().to_string()];
    let (code, said) = fleet.command(&["admin", "jobs", "cancel", &ids[0], &ids[1], &ids[2]]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("has ended as failed") && said.contains("is no job"), "{said}");
    fleet.simulator.wait("aborted=1").await;
    assert_eq!(fleet.history(job).await.last().unwrap(), "cancelled");
    let actions = audit(&fleet).await;
    assert!(
        actions[0].starts_with("cli:") && actions[0].contains("cancel_job done"),
        "{actions:?}"
    );
    assert_eq!(
        actions[1..],
        ["cli:ana retry_job done the provider is back"].repeat(3),
        "{actions:?}"
    );
    let (code, said) = fleet.command(&["admin", "jobs", "cancel"]).await;
    assert_eq!(code, Some(2), "nothing is cancelled by mistake: {said}");
}

#[tokio::test]
async fn dead_letters_of_all_kinds_stand_in_one_list_and_go_again() {
    let fleet = Fleet::new(&[]).await;
    let job = failed(&fleet, 1, "internal").await[0];
    let sql = format!(
        "insert into regimen.callbacks (job_id, user_id, url, host, state, attempts, settled_at, error)
             select id, user_id, 'https://example.test', 'example.test', 'dead', 9, now(), 'refused'
             from regimen.jobs where id = '{job}';
         insert into regimen.stripe_events (id, type, payload, source, state, settled_at, livemode,
             error_code)
         select 'evt_' || n, 'invoice.paid', '{{}}', 'webhook',
             case n when 1 then 'dead' else 'applied' end, now(), false, 'stripe_away'
         from generate_series(1, 2) n;
         insert into regimen.billing_notices (event_id, kind, user_id, mail_state, error)
             values ('evt_1', 'payment_failed', '{job}', 'failed', 'mailbox full')"
    );
    fleet.db().await.batch_execute(&sql).await.unwrap();
    let dead = admin(&fleet, &["dead"]).await;
    let mut kinds: Vec<(&str, &str)> = dead["dead"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| (letter["kind"].as_str().unwrap(), letter["id"].as_str().unwrap()))
        .collect();
    kinds.sort_unstable();
    let id = job.to_string();
    let expected =
        [("callback", id.as_str()), ("job", &id), ("mail", "evt_1"), ("stripe_event", "evt_1")];
    assert_eq!(kinds, expected, "{dead}");
    let of_one = text(&fleet, &["dead", "--kind", "callback"]).await;
    assert!(of_one.contains("to example.test: refused") && !of_one.contains("evt_1"), "{of_one}");

    admin(&fleet, &["callbacks", "replay", "--all-dead"]).await;
    let waiting = "select count(*) from regimen.callbacks where state = 'waiting' and attempts = 0";
    assert_eq!(fleet.count(waiting).await, 1);
    admin(&fleet, &["events", "replay", "--all-dead"]).await;
    let received = "select count(*) from regimen.stripe_events where state = 'received'";
    assert_eq!(fleet.count(received).await, 1);
    admin(&fleet, &["mails", "replay", "evt_1"]).await;
    let waiting = "select count(*) from regimen.billing_notices
                   where mail_state = 'waiting' and error is null";
    assert_eq!(fleet.count(waiting).await, 1);
    let (code, said) = fleet.command(&["admin", "mails", "replay", "evt_1"]).await;
    assert!(code == Some(1) && said.contains("no mail that was given up"), "{said}");
    let (code, said) = fleet.command(&["admin", "callbacks", "replay", &id]).await;
    assert!(code == Some(1) && said.contains("waits to be sent"), "{said}");
    let actions = audit(&fleet).await;
    assert!(actions[0].contains("replay_mail"), "{actions:?}");
    assert!(actions[1].contains("replay_stripe_event"), "{actions:?}");
    assert!(actions[2].contains("replay_callback") && actions.len() == 3, "{actions:?}");
}

#[tokio::test]
async fn a_paused_model_is_passed_over_until_it_is_resumed() {
    let mut fleet = Fleet::new(&[("OPENAI_MODEL", "gpt-6-luna")]).await;
    fleet.ask_all_providers();
    let (ingress, worker) = tokio::join!(fleet.ingress(), fleet.worker());
    admin(&fleet, &["pause", "model", "gpt-6-luna", "--reason", "writes nonsense"]).await;
    let listed = admin(&fleet, &["pauses"]).await;
    assert_eq!(listed["pauses"][0]["what"], "model", "{listed}");
    let asked = async || {
        let (user, job) = ingress.submit_one().await;
        let view = soon("the plan", ingress.ended(user, job)).await;
        view["provider"].as_str().unwrap().to_owned()
    };
    let until = async |wanted: bool| {
        let deadline = Instant::now() + PATIENCE;
        while (asked().await == "openai") != wanted {
            assert!(Instant::now() < deadline, "the worker does not heed it");
        }
    };
    until(false).await;
    assert_eq!(asked().await, "anthropic");
    admin(&fleet, &["resume", "model", "gpt-6-luna"]).await;
    until(true).await;

    admin(&fleet, &["pause", "queue", "free", "--as", "ana"]).await;
    let actions = audit(&fleet).await;
    assert_eq!(actions[0], "cli:ana pause done -");
    assert!(actions[2].ends_with(" pause done writes nonsense"), "{actions:?}");
    assert!(!actions[2].contains("gpt-6-luna"), "{actions:?}");
    fleet.until_metric(&worker, "regimen_queue_paused{class=\"free\"}", 1.0).await;
    admin(&fleet, &["resume", "queue", "free"]).await;
    admin(&fleet, &["resume", "provider", "openai"]).await;
    fleet.until_metric(&worker, "regimen_provider_lifts{provider=\"openai\"}", 1.0).await;
    for wrong in [["queue", "gold"], ["provider", "acme"]] {
        let (code, said) = fleet.command(&["admin", "pause", wrong[0], wrong[1]]).await;
        assert!(code == Some(1) && said.contains("pro, free or stripe"), "{said}");
    }
}

#[tokio::test]
async fn workers_tell_what_they_hold_and_whether_they_drain() {
    let fleet = Fleet::new(&[("DRAIN_SECONDS", "3600"), ("LEASE_SECONDS", "1")]).await;
    let ingress = fleet.ingress().await;
    let mut first = fleet.worker().await;
    fleet.one_held_job(&ingress).await;
    let until = async |state: &str, held: i64| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let workers = admin(&fleet, &["workers"]).await["workers"].clone();
            let fits = |worker: &&Value| {
                worker["state"] == state && worker["held"] == held && worker["running"] == held
            };
            if let Some(worker) = workers.as_array().unwrap().iter().find(fits) {
                return worker.clone();
            }
            assert!(Instant::now() < deadline, "no worker is {state} with {held}: {workers}");
        }
    };
    let worker = until("working", 1).await;
    assert_eq!(worker["worker_id"], first.address("WORKER_ID"));
    assert_eq!(worker["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(worker["pid"], first.process.id());
    assert_eq!(worker["slots"], 8);
    assert!(!worker["host"].as_str().unwrap().is_empty());
    first.process.terminate();
    until("draining", 1).await;
    fleet.simulator.release("reply").await;
    assert_eq!(first.process.wait_exit().await.code(), Some(0));
    let rows = "select count(*) from regimen.workers";
    assert_eq!(fleet.count(rows).await, 0, "who ends says so");

    // One that is killed cannot: it is gone after a while, and cleared away later.
    let mut second = fleet.worker().await;
    until("working", 0).await;
    second.process.kill9().await;
    let silent = "update regimen.workers set seen_at = now() - interval '2 minutes'";
    fleet.db().await.batch_execute(silent).await.unwrap();
    until("gone", 0).await;
    let older = "update regimen.workers set seen_at = now() - interval '2 hours'";
    fleet.db().await.batch_execute(older).await.unwrap();
    let _third = fleet.worker().await;
    until("working", 0).await;
    assert_eq!(fleet.count(rows).await, 1);
}

#[tokio::test]
async fn a_users_limits_are_shown_and_reset() {
    let settings = [("RATE_GENERATE_PLANS", "1/h"), ("MONTHLY_QUOTA", "true")];
    let fleet = Fleet::new(&settings).await;
    let ingress = fleet.ingress().await;
    let free = "update public.plans set monthly_ai_generations = 1 where id = 'free'";
    fleet.db().await.batch_execute(free).await.unwrap();
    let user = Uuid::new_v4();
    let id = user.to_string();
    let body = json!({"kinds": ["meal"], "answers": crate::fleet::answers()});
    let submit = async || ingress.door().post_plans(user, &body, None).await.unwrap().status();
    assert_eq!(submit().await, StatusCode::ACCEPTED);
    assert_eq!(submit().await, StatusCode::TOO_MANY_REQUESTS);
    let shown = admin(&fleet, &["limits", "show", &id]).await;
    let rates = shown["rates"].as_array().unwrap();
    let plans = rates.iter().find(|rate| rate["policy"] == "generate-plans").unwrap();
    assert_eq!((&plans["quota"], &plans["remaining"]), (&json!(1), &json!(0)), "{shown}");
    assert_eq!(shown["generations"]["left"], 0, "{shown}");

    admin(&fleet, &["limits", "reset", &id, "--reason", "asked for it"]).await;
    assert_eq!(submit().await, StatusCode::TOO_MANY_REQUESTS, "the month is used up");
    let reset = admin(&fleet, &["limits", "reset", &id, "--month"]).await;
    assert_eq!(reset["generations"], 1, "{reset}");
    assert_eq!(submit().await, StatusCode::ACCEPTED);
    let said = text(&fleet, &["limits", "show", &id]).await;
    assert!(said.contains("generate-plans") && said.contains("1 of 1 used"), "{said}");
}

#[tokio::test]
async fn a_week_is_reported_in_each_form_and_its_numbers_are_true() {
    let fleet = Fleet::new(&[]).await;
    let (ingress, _worker) = tokio::join!(fleet.ingress(), fleet.worker());
    for _ in 0..3 {
        let (user, job) = ingress.submit_one().await;
        soon("the plan", ingress.ended(user, job)).await;
    }
    failed(&fleet, 1, "refused").await;
    let sql = "insert into regimen.stripe_events (id, type, payload, source, state, received_at,
                   settled_at)
               values ('evt_1', '<b>', '{}', 'webhook', 'applied', now() - interval '4 s', now());
               update regimen.job_attempts set outcome = 'rate_limited'
               where id = (select id from regimen.job_attempts limit 1)";
    fleet.db().await.batch_execute(sql).await.unwrap();
    let today = "select to_char(now() at time zone 'UTC', 'YYYY-MM-DD')";
    let today: String = fleet.db().await.query_one(today, &[]).await.unwrap().get(0);
    let weekly = ["report", "weekly", "--until", &today];
    let report = admin(&fleet, &weekly).await;
    assert_eq!(report["days"].as_array().unwrap().len(), 7, "{report}");
    let last = &report["days"][6];
    assert_eq!((&last["succeeded"], &last["failed"]), (&json!(3), &json!(1)), "{report}");
    assert_eq!(report["success_rate"], 0.75);
    assert_eq!(report["reasons"], json!([{"what": "refused", "count": 1}]));
    assert_eq!(report["errors"], json!([{"what": "openai rate_limited", "count": 1}]));
    assert_eq!(report["models"][0]["calls"], 3);
    assert_eq!(report["webhooks"]["lag"]["p50"], 4.0);
    let spent = fleet.count("select sum(cost_micros)::bigint from regimen.ai_usage").await;
    let each = report["cost_per_plan_usd"].as_f64().unwrap();
    assert!((each * 3e6 - spent as f64).abs() < 1.0, "{report}");
    assert!(report["times"]["to_plan"]["p95"].as_f64().unwrap() > 0.0, "{report}");

    let plain = text(&fleet, &weekly).await;
    assert!(plain.contains("75.0 % of the jobs") && plain.contains("refused"), "{plain}");
    let markdown = text(&fleet, &[&weekly[..], &["--format", "markdown"]].concat()).await;
    assert!(markdown.contains("## Jobs") && markdown.contains("| --- |"), "{markdown}");
    let html = text(&fleet, &[&weekly[..], &["--format", "html"]].concat()).await;
    assert!(html.starts_with("<!doctype html>") && html.contains("<svg"), "{html}");
    assert!(html.contains(&format!("<title>{today} plans: 3</title>")), "{html}");
    assert!(html.contains(&format!("<title>{today} failed or expired: 1</title>")), "{html}");

    let spend = admin(&fleet, &["spend", "--by", "day,user,model"]).await;
    assert_eq!(spend["sums"].as_array().unwrap().len(), 3, "one for each user: {spend}");
    let total = spend["total_usd"].as_f64().unwrap();
    assert!((total * 1e6 - spent as f64).abs() < 1.0, "{spend}");
}

#[tokio::test]
async fn completions_and_manual_pages_come_with_the_binary() {
    let fleet = Fleet::new(&[]).await;
    let (code, script) = fleet.command(&["completions", "bash"]).await;
    assert!(code == Some(0) && script.contains("--despite-subscription"), "{script}");
    let (code, page) = fleet.command(&["man"]).await;
    assert!(code == Some(0) && page.contains(".TH regimen-worker"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = fleet.command(&["man", "--dir", folder.path().to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(folder.path().join("regimen-worker-admin-jobs-retry.1").exists());
}
