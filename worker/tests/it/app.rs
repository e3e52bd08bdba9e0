//! The existing app on the real binaries: its own schema with rows of every old
//! state, its calls in its order, two tabs at once, and its tables read back under
//! row security, as its front end reads them through PostgREST.

use regimen_common::db::migrate::migrate;
use regimen_common::test_support::TestDatabase;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::{Fleet, Ingress, answers, soon};

const TABLES: &str = include_str!("../../../common/tests/it/fixtures/app_tables.sql");
const SUPABASE: &str = include_str!("../../../common/tests/it/fixtures/supabase.sql");

/// What the app's database may say of its plan tables.
const CONSTRAINTS: [&str; 3] = ["", "unique (user_id, quiz_result_id)", "unique (user_id)"];

/// The app's database, migrated, with one of the constraints.
async fn database(constraint: &str) -> TestDatabase {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    client.batch_execute(TABLES).await.unwrap();
    client.batch_execute(SUPABASE).await.unwrap();
    if !constraint.is_empty() {
        // Production has no duplicates where it has this.
        let sql = format!(
            "delete from public.ai_meal_plans; delete from public.ai_workout_plans;
             alter table public.ai_meal_plans add constraint ai_meal_plans_user_quiz_unique {constraint};
             alter table public.ai_workout_plans add constraint ai_workout_plans_user_quiz_unique {constraint}"
        );
        client.batch_execute(&sql).await.unwrap();
    }
    migrate(&database.secret_url()).await.unwrap();
    database
}

/// Somebody signed up: the app writes both rows.
async fn sign_up(fleet: &Fleet) -> Uuid {
    let user = Uuid::new_v4();
    let client = fleet.db().await;
    for sql in [
        "insert into auth.users (id, email) values ($1, 'new@example.test')",
        "insert into public.profiles (id, email, plan_id) values ($1, 'new@example.test', 'family')",
    ] {
        client.execute(sql, &[&user]).await.unwrap();
    }
    user
}

/// Runs `sql` as PostgREST does for this user, with `$1` the user: a JSON value.
async fn as_user(fleet: &Fleet, user: Uuid, sql: &str) -> Value {
    let mut client = fleet.db().await;
    let tx = client.transaction();
    let claims = json!({"sub": user, "role": "authenticated"}).to_string();
    tx.execute("select set_config('request.jwt.claims', $1, true)", &[&claims]).await.unwrap();
    tx.batch_execute("set local role authenticated").await.unwrap();
    let value = tx.query_one(sql, &[&user]).await.unwrap().get(0);
    tx.commit().await.unwrap();
    value
}

async fn store_quiz(fleet: &Fleet, user: Uuid) -> Uuid {
    let sql = format!(
        "insert into public.quiz_results (user_id, answers) values ($1, '{}') returning to_jsonb(id)",
        answers()
    );
    as_user(fleet, user, &sql).await.as_str().unwrap().parse().unwrap()
}

/// The quiz page's call, as the front end makes it.
async fn generate(ingress: &Ingress, user: Uuid, quiz: Uuid) -> (StatusCode, Value) {
    let body = json!({"user_id": user, "quiz_result_id": quiz, "answers": answers(),
        "ai_provider": "openai", "model_name": "gpt-4o-mini"});
    let request = ingress.door().request(Method::POST, user, "/generate-plans").json(&body);
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn statuses(ingress: &Ingress, user: Uuid) -> (String, String) {
    let status = ingress.get(user, &format!("/plan-status/{user}")).await;
    let of = |kind: &str| status[format!("{kind}_plan_status")].as_str().unwrap().to_owned();
    (of("meal"), of("workout"))
}

/// Polls as both plan views do, until neither is being made.
async fn polled(ingress: &Ingress, user: Uuid) -> (String, String) {
    loop {
        let (meal, workout) = statuses(ingress, user).await;
        if meal != "generating" && workout != "generating" {
            return (meal, workout);
        }
        tokio::task::yield_now().await;
    }
}

/// The active plan row of a kind as its view reads it: null, or status, whether there is
/// a plan, and its quiz. More than one would be an error in the app.
async fn active(fleet: &Fleet, user: Uuid, kind: &str) -> Value {
    let sql = format!(
        "select coalesce(jsonb_agg(jsonb_build_array(status, plan_data is not null, quiz_result_id)),
             '[]') from public.ai_{kind}_plans where user_id = $1 and is_active"
    );
    let rows = as_user(fleet, user, &sql).await;
    assert!(rows.as_array().unwrap().len() <= 1, "{rows}");
    rows[0].clone()
}

#[tokio::test]
async fn a_new_user_gets_through_whatever_the_apps_tables_keep_unique() {
    for constraint in CONSTRAINTS {
        let fleet = Fleet::of(database(constraint).await, &[]).await;
        let (ingress, _worker) = tokio::join!(fleet.ingress(), fleet.worker());
        let (user, other) = (sign_up(&fleet).await, sign_up(&fleet).await);
        let not_started = ("not_started".to_owned(), "not_started".to_owned());
        assert_eq!(statuses(&ingress, user).await, not_started);

        let quiz = store_quiz(&fleet, user).await;
        for kind in ["meal", "workout"] {
            let beside = if kind == "meal" { "" } else { ", workout_type, duration_per_session" };
            let values = if kind == "meal" { "" } else { ", '', ''" };
            let placeholder = format!(
                "insert into public.ai_{kind}_plans (user_id, quiz_result_id, status, is_active{beside})
                 values ($1, $2, 'generating', false{values})"
            );
            fleet.db().await.execute(&placeholder, &[&user, &quiz]).await.unwrap();
        }
        let (status, started) = generate(&ingress, user, quiz).await;
        assert_eq!(status, StatusCode::OK, "{constraint}: {started}");
        let completed = ("completed".to_owned(), "completed".to_owned());
        let ended = soon("both plans", polled(&ingress, user)).await;
        assert_eq!(ended, completed, "{constraint}");
        for kind in ["meal", "workout"] {
            let shown = active(&fleet, user, kind).await;
            assert_eq!(shown, json!(["completed", true, quiz]), "{constraint} {kind}");
            assert_eq!(active(&fleet, other, kind).await, Value::Null);
        }
        let calculations = "select calculations from public.quiz_results where user_id = $1";
        let calculations = as_user(&fleet, user, calculations).await;
        assert_eq!(calculations, started["calculations"], "{constraint}");

        // The same quiz again, from two tabs at once: the newest plan is the one shown.
        let (one, two) =
            tokio::join!(generate(&ingress, user, quiz), generate(&ingress, user, quiz));
        assert_eq!((one.0, two.0), (StatusCode::OK, StatusCode::OK), "{constraint}");
        let unended = "select count(*) from regimen.jobs where finished_at is null";
        fleet.until_count(unended, 0).await;
        assert_eq!(statuses(&ingress, user).await, completed, "{constraint}");
        for kind in ["meal", "workout"] {
            let shown = active(&fleet, user, kind).await;
            assert_eq!(shown, json!(["completed", true, quiz]), "{constraint} {kind}");
        }
        assert_eq!(
            fleet.count("select count(*) from regimen.jobs where state <> 'succeeded'").await,
            0
        );
    }
}

#[tokio::test]
async fn what_the_old_service_left_is_told_as_it_is() {
    for constraint in CONSTRAINTS {
        let fleet = Fleet::of(database(constraint).await, &[]).await;
        let ingress = fleet.ingress().await;
        for (row, expected) in [
            ("'completed', '{}'::jsonb, true, now() - interval '90 days'", "completed"),
            ("'generating', null, false, now() - interval '5 minutes'", "generating"),
            ("'generating', null, false, now() - interval '61 minutes'", "failed"),
            ("'failed', null, false, now() - interval '3 days'", "failed"),
            // Written by versions of the app that knew no status.
            ("null, '{}'::jsonb, true, null", "completed"),
        ] {
            let user = sign_up(&fleet).await;
            let sql = format!(
                "insert into public.ai_meal_plans (user_id, status, plan_data, is_active, generated_at)
                 values ($1, {row})"
            );
            fleet.db().await.execute(&sql, &[&user]).await.unwrap();
            let sql =
                "update public.ai_meal_plans set created_at = generated_at where user_id = $1";
            fleet.db().await.execute(sql, &[&user]).await.unwrap();
            let (meal, workout) = statuses(&ingress, user).await;
            assert_eq!((meal.as_str(), workout.as_str()), (expected, "not_started"), "{row}");
        }
    }
}

#[tokio::test]
async fn a_generation_that_fails_is_told_and_counted_as_the_app_does() {
    for constraint in CONSTRAINTS {
        let settings = [("RETRY_ROUNDS_SECONDS", "0.05"), ("PROVIDER_ATTEMPTS", "1")];
        let fleet = Fleet::of(database(constraint).await, &settings).await;
        let (ingress, worker) = tokio::join!(fleet.ingress(), fleet.worker());
        let failing = json!({"rules": [{"action": {"do": "status", "status": 401}}]});
        fleet.simulator.control(failing).await;
        let user = sign_up(&fleet).await;
        let quiz = store_quiz(&fleet, user).await;
        assert_eq!(generate(&ingress, user, quiz).await.0, StatusCode::OK);
        let failed = ("failed".to_owned(), "failed".to_owned());
        assert_eq!(soon("the end", polled(&ingress, user)).await, failed, "{constraint}");
        for kind in ["meal", "workout"] {
            // What the app's analytics count, read as its operators do.
            let sql = format!(
                "select count(*) from public.ai_{kind}_plans where status = 'failed'
                     and error_message <> '' and generated_at >= created_at and not is_active"
            );
            assert_eq!(fleet.count(&sql).await, 1, "{constraint} {kind}");
            assert_eq!(active(&fleet, user, kind).await, Value::Null);
        }

        // The fault is mended and an operator has both done again.
        fleet.simulator.control(json!({"replace": true, "rules": []})).await;
        for provider in ["openai", "anthropic", "gemini"] {
            operate(&ingress, &format!("/admin/providers/{provider}/resume")).await;
            let lifted = format!("regimen_provider_lifts{{provider=\"{provider}\"}}");
            fleet.until_metric(&worker, &lifted, 1.0).await;
        }
        for job in fleet.ids("select id from regimen.jobs where state = 'failed'").await {
            operate(&ingress, &format!("/admin/jobs/{job}/retry")).await;
        }
        let completed = ("completed".to_owned(), "completed".to_owned());
        assert_eq!(soon("the end", polled(&ingress, user)).await, completed, "{constraint}");
        for kind in ["meal", "workout"] {
            let shown = active(&fleet, user, kind).await;
            assert_eq!(shown, json!(["completed", true, quiz]), "{constraint} {kind}");
        }
    }
}

async fn operate(ingress: &Ingress, path: &str) {
    let answer = ingress.door().request(Method::POST, Uuid::new_v4(), path).send().await.unwrap();
    let (status, body) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{path}: {status} {body}");
}

/// A team that goes back: the old service finds our plan as it would its own, saves the
/// next one over it with its own statement, and our service tells of that one.
#[tokio::test]
async fn the_old_service_goes_on_from_our_plans() {
    let fleet = Fleet::of(database(CONSTRAINTS[1]).await, &[]).await;
    let (ingress, _worker) = tokio::join!(fleet.ingress(), fleet.worker());
    let user = sign_up(&fleet).await;
    let quiz = store_quiz(&fleet, user).await;
    generate(&ingress, user, quiz).await;
    let completed = ("completed".to_owned(), "completed".to_owned());
    assert_eq!(soon("both plans", polled(&ingress, user)).await, completed);

    let client = fleet.db().await;
    for (table, list) in [("ai_meal_plans", "meals"), ("ai_workout_plans", "weekly_plan")] {
        let newest = format!(
            "select status, error_message, is_active, jsonb_array_length(plan_data -> '{list}')
             from public.{table} where user_id = $1 order by created_at desc limit 1"
        );
        let row = client.query_one(&newest, &[&user]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "completed");
        assert_eq!(row.get::<_, Option<&str>>(1), None);
        assert!(row.get::<_, bool>(2) && row.get::<_, i32>(3) > 0, "{table}");
    }
    // As it begins: a placeholder for the next quiz, which its statement fills.
    let next = store_quiz(&fleet, user).await;
    let placeholder =
        "insert into public.ai_meal_plans (user_id, quiz_result_id, status, is_active)
                       values ($1, $2, 'generating', false)";
    client.execute(placeholder, &[&user, &next]).await.unwrap();
    assert_eq!(statuses(&ingress, user).await.0, "generating");
    let save = "insert into public.ai_meal_plans
                    (user_id, quiz_result_id, plan_data, daily_calories, status, is_active)
                values ($1, $2, '{\"meals\": [\"theirs\"]}', 2000, 'completed', true)
                on conflict (user_id, quiz_result_id) do update
                set plan_data = excluded.plan_data, status = excluded.status,
                    daily_calories = excluded.daily_calories, is_active = true,
                    error_message = null, updated_at = now()";
    client.execute(save, &[&user, &next]).await.unwrap();
    assert_eq!(statuses(&ingress, user).await, completed);
    assert_eq!(active(&fleet, user, "meal").await, json!(["completed", true, next]));
    let theirs = "select plan_data #> '{meals,0}' from public.ai_meal_plans
                  where user_id = $1 and is_active";
    assert_eq!(as_user(&fleet, user, theirs).await, "theirs");
}
