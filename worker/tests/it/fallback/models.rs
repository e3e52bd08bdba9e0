//! Models that are gone, go soon, or were never heard of.

use regimen_common::clock::Clock;
use regimen_worker::llm::catalogue::Catalogue;
use regimen_worker::prompts;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::{Fleet, Ingress, answers, soon};

/// Asks for a plan with these words about provider and model; the job's view
/// and its first call's event.
async fn asked(ingress: &Ingress, wish: Value) -> (Value, Value) {
    let mut body = json!({"kinds": ["meal"], "answers": answers()});
    body.as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
    let user = Uuid::new_v4();
    let job = ingress.submit_body(user, &body).await[0];
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    let started = ingress.event(user, job, "attempt_started").await;
    (view, started["data"].clone())
}

#[tokio::test]
async fn a_retired_model_is_asked_for_as_its_successor_with_a_warning() {
    let mut fleet = Fleet::new(&[]).await;
    fleet.ask_all_providers();
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    for (retired, provider, successor) in [
        ("claude-3-5-sonnet-20241022", "anthropic", "claude-sonnet-5-5"),
        ("gemini-1.5-flash", "gemini", "gemini-3.5-flash-lite"),
    ] {
        let (view, started) = asked(&ingress, json!({ "model": retired })).await;
        assert_eq!((&view["provider"], &view["model"]), (&json!(provider), &json!(successor)));
        let warning = started["warning"].as_str().unwrap();
        assert!(warning.starts_with(&format!("{retired} retired on ")), "{warning}");
        assert!(warning.contains(successor), "{warning}");
        assert!(worker.process.output().contains(warning), "the log says it too");
    }

    // Whether its day has come or not, by the catalogue.
    let (today, catalogue) = (Clock::system().now().date_naive(), Catalogue::built_in().unwrap());
    let (view, started) = asked(&ingress, json!({ "model": "gpt-4o-mini" })).await;
    assert_eq!(view["model"], catalogue.resolve("gpt-4o-mini", today).id, "{view}");
    let notice = catalogue.notice("gpt-4o-mini", today).unwrap();
    assert_eq!(started["warning"], notice.to_string());
    assert!(started["warning"].as_str().unwrap().contains("2027-01-14"));

    let (_, started) = asked(&ingress, json!({"model": "gpt-6-luna"})).await;
    assert_eq!(started.get("warning"), None, "{started}");
}

#[tokio::test]
async fn an_unknown_model_works_and_is_counted_at_the_highest_price() {
    let mut fleet = Fleet::new(&[]).await;
    fleet.ask_all_providers();
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    let wish = json!({"provider": "llama", "model": "house-llama-9"});
    let (view, _) = asked(&ingress, wish).await;
    assert_eq!((&view["provider"], &view["model"]), (&json!("llama"), &json!("house-llama-9")));
    let tokens = |name: &str| view["attempts"][0][name].as_f64().unwrap();
    let price = (tokens("input_tokens") * 3.0 + tokens("output_tokens") * 15.0) / 1e6;
    let cost = view["cost_usd"].as_f64().unwrap();
    assert!((cost - price).abs() < 2e-6, "{cost} instead of {price}");
}

/// A wish that cannot be met is not silently dropped.
#[tokio::test]
async fn a_wish_nobody_here_can_meet_is_told() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    for (wish, told) in [
        (json!({"model": "house-llama-9"}), "house-llama-9 is not known here"),
        (json!({"model": "claude-haiku-5-5"}), "anthropic was asked for and has no key here"),
        (json!({"provider": "gemini"}), "gemini was asked for and has no key here"),
        (
            json!({"provider": "openai", "model": "claude-haiku-5-5"}),
            "claude-haiku-5-5 is a model of anthropic, not of openai",
        ),
    ] {
        let (view, started) = asked(&ingress, wish).await;
        assert_eq!(view["model"], "gpt-6-luna");
        let warning = started["warning"].as_str().unwrap();
        assert!(warning.starts_with(told), "{warning}");
    }
}

#[tokio::test]
async fn models_that_retire_are_told_at_start_and_in_the_usage_of_every_worker_that_lives() {
    let mut fleet = Fleet::new(&[("OPENAI_MODEL", "gpt-6-luna")]).await;
    fleet.ask_all_providers();
    let ingress = fleet.ingress().await;
    let user = Uuid::new_v4();
    let _sound = fleet.worker().await;
    let count = "select count(*) from regimen.models_in_use";
    fleet.until_count(count, 4).await;
    assert_eq!(ingress.get(user, "/v1/usage").await["retiring_models"], json!([]));

    let old = [("OPENAI_MODEL", "gpt-4o-mini"), ("GEMINI_MODEL", "gemini-1.5-flash")];
    let mut worker = fleet.worker_with(&old).await;
    fleet.until_count(count, 8).await;
    let told = ingress.get(user, "/v1/usage").await["retiring_models"].clone();
    assert_eq!(
        told[0],
        json!({"provider": "gemini", "model": "gemini-1.5-flash", "retires_on": "2025-09-30",
               "retired": true, "successor": "gemini-3.5-flash-lite"})
    );
    let openai = &told[1];
    assert_eq!(
        (&openai["model"], &openai["retires_on"]),
        (&json!("gpt-4o-mini"), &json!("2027-01-14"))
    );
    assert_eq!(told.as_array().unwrap().len(), 2, "{told}");
    let log = worker.process.output();
    assert!(log.contains("gemini-1.5-flash retired on 2025-09-30"), "{log}");
    assert!(log.contains("2027-01-14"), "{log}");

    // A worker that ends takes its models with it; one that is killed, in time.
    worker.process.terminate();
    worker.process.wait_exit().await;
    assert_eq!(ingress.get(user, "/v1/usage").await["retiring_models"], json!([]));
    let mut worker = fleet.worker_with(&old).await;
    fleet.until_count(count, 8).await;
    worker.process.kill9().await;
    assert_ne!(ingress.get(user, "/v1/usage").await["retiring_models"], json!([]));
    let later = "update regimen.models_in_use set seen_at = seen_at - interval '4 minutes'";
    fleet.db().await.batch_execute(later).await.unwrap();
    assert_eq!(ingress.get(user, "/v1/usage").await["retiring_models"], json!([]));
}

/// Who wrote a plan, and to which words, is known for as long as the plan is.
#[tokio::test]
async fn the_version_of_the_prompt_is_stored_with_the_plan() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    let user = Uuid::new_v4();
    for job in ingress.submit(user, &["meal", "workout"]).await {
        assert_eq!(soon("a plan", ingress.ended(user, job)).await["status"], "succeeded");
    }
    let sql = "select o.prompt_version, o.provider, o.model from regimen.plan_origins o
               join (select id, user_id from public.ai_meal_plans
                     union all select id, user_id from public.ai_workout_plans) plan
                 on plan.id = o.plan_id and plan.user_id = o.user_id";
    let rows = fleet.db().await.query(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        let origin: [String; 3] = [row.get(0), row.get(1), row.get(2)];
        assert_eq!(origin, [prompts::VERSION, "openai", "gpt-6-luna"]);
    }
}
