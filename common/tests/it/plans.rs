//! Saving plans: one active plan of a kind per user, with our trigger, with
//! the app's, and with none; the columns the front end reads are filled.

use chrono::TimeDelta;
use regimen_common::clock::Clock;
use regimen_common::db::Client;
use regimen_common::db::accounts::ensure_profile;
use regimen_common::db::migrate::migrate;
use regimen_common::db::plans::{NewPlan, PlanColumns, active_plan, save_plan};
use regimen_common::job::PlanKind;
use regimen_common::test_support::TestDatabase;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use uuid::Uuid;

const MEAL: PlanColumns<'_> =
    PlanColumns::Meal { daily_calories: 2100, preferences: "[\"Running\"]", restrictions: "Vegan" };
const WORKOUT: PlanColumns<'_> = PlanColumns::Workout {
    workout_type: "[\"Running\"]",
    duration_per_session: "3-4 times/week",
    frequency_per_week: 4,
};

async fn user(client: &Client) -> Uuid {
    let user = Uuid::new_v4();
    ensure_profile(client, user, None).await.unwrap();
    user
}

async fn save(
    client: &mut Client,
    user_id: Uuid,
    quiz_result_id: Option<Uuid>,
    data: &Value,
    columns: PlanColumns<'_>,
) -> Uuid {
    let id = Uuid::new_v4();
    let tx = client.transaction();
    let requested_at = Clock::system().now() - TimeDelta::seconds(20);
    let data = to_raw_value(data).unwrap();
    let plan = NewPlan { id, user_id, quiz_result_id, requested_at, plan_data: &data, columns };
    let saved = save_plan(&tx, &plan).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    saved
}

async fn active_ids(client: &Client, user: Uuid, kind: PlanKind) -> Vec<Uuid> {
    let table = match kind {
        PlanKind::Meal => "ai_meal_plans",
        PlanKind::Workout => "ai_workout_plans",
    };
    let sql = format!("select id from public.{table} where user_id = $1 and is_active");
    client.query(&sql, &[&user]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The last plan saved is the only active one; the others' and the other kind stay.
async fn assert_one_active_plan(database: &TestDatabase) {
    let mut client = database.client().await;
    let (one, two) = (user(&client).await, user(&client).await);
    let others = save(&mut client, two, None, &json!({}), MEAL).await;
    let workout = save(&mut client, one, None, &json!({}), WORKOUT).await;
    for n in 1..=3 {
        let id = save(&mut client, one, None, &json!({ "n": n }), MEAL).await;
        assert_eq!(active_ids(&client, one, PlanKind::Meal).await, [id]);
        let plan = active_plan(&client, one, PlanKind::Meal).await.unwrap().unwrap();
        assert_eq!((plan.id, plan.plan_data), (id, json!({ "n": n })));
    }
    assert_eq!(active_ids(&client, one, PlanKind::Workout).await, [workout]);
    assert_eq!(active_ids(&client, two, PlanKind::Meal).await, [others]);
    let kept = "select count(*) from public.ai_meal_plans where user_id = $1";
    assert_eq!(client.query_one(kept, &[&one]).await.unwrap().get::<_, i64>(0), 3);
}

#[tokio::test]
async fn one_active_plan_with_our_trigger() {
    assert_one_active_plan(&TestDatabase::new().await).await;
}

#[tokio::test]
async fn one_active_plan_without_a_trigger() {
    let database = TestDatabase::new().await;
    let drop = "drop trigger deactivate_other_plans on public.ai_meal_plans;
                drop trigger deactivate_other_plans on public.ai_workout_plans";
    database.client().await.batch_execute(drop).await.unwrap();
    assert_one_active_plan(&database).await;
}

#[tokio::test]
async fn one_active_plan_with_the_apps_trigger() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    client.batch_execute(include_str!("fixtures/app_tables.sql")).await.unwrap();
    client.batch_execute(include_str!("fixtures/supabase.sql")).await.unwrap();
    migrate(&database.secret_url()).await.unwrap();
    assert_one_active_plan(&database).await;
}

#[tokio::test]
async fn saves_at_once_leave_one_active_plan() {
    let database = TestDatabase::new().await;
    let drop = "drop trigger deactivate_other_plans on public.ai_meal_plans";
    database.client().await.batch_execute(drop).await.unwrap();
    let user = user(&database.client().await).await;
    let saves = (0..8).map(|n| {
        let database = &database;
        async move { save(&mut database.client().await, user, None, &json!(n), MEAL).await }
    });
    let saved = futures_util::future::join_all(saves).await;
    let active = active_ids(&database.client().await, user, PlanKind::Meal).await;
    assert_eq!(active.len(), 1);
    assert!(saved.contains(&active[0]));
}

#[tokio::test]
async fn the_columns_beside_the_plan_are_what_the_front_end_reads() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = user(&client).await;
    let sql = "insert into public.quiz_results (user_id, answers) values ($1, '{}') returning id";
    let quiz: Uuid = client.query_one(sql, &[&user]).await.unwrap().get(0);
    let meal = save(&mut client, user, Some(quiz), &json!({ "meals": [] }), MEAL).await;
    let workout = save(&mut client, user, Some(quiz), &json!({ "weekly_plan": [] }), WORKOUT).await;

    let sql = "select to_jsonb(m) - '{generated_at,created_at,updated_at}'::text[]
               from public.ai_meal_plans m where generated_at > created_at
                   and updated_at > '2026-01-01'";
    let row: Value = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(
        row,
        json!({
            "id": meal, "user_id": user, "quiz_result_id": quiz, "plan_data": { "meals": [] },
            "daily_calories": 2100, "preferences": "[\"Running\"]", "restrictions": "Vegan",
            "is_active": true, "status": "completed", "error_message": null,
        })
    );
    let sql = "select to_jsonb(w) - '{generated_at,created_at,updated_at}'::text[]
               from public.ai_workout_plans w where generated_at > created_at
                   and updated_at > '2026-01-01'";
    let row: Value = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(
        row,
        json!({
            "id": workout, "user_id": user, "quiz_result_id": quiz,
            "plan_data": { "weekly_plan": [] }, "workout_type": "[\"Running\"]",
            "duration_per_session": "3-4 times/week", "frequency_per_week": 4,
            "is_active": true, "status": "completed", "error_message": null,
        })
    );
}

#[tokio::test]
async fn a_vanished_or_foreign_quiz_is_left_out_and_a_vanished_profile_refuses() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (one, two) = (user(&client).await, user(&client).await);
    let sql = "insert into public.quiz_results (user_id, answers) values ($1, '{}') returning id";
    let foreign: Uuid = client.query_one(sql, &[&two]).await.unwrap().get(0);
    for quiz in [Uuid::new_v4(), foreign] {
        save(&mut client, one, Some(quiz), &json!({}), MEAL).await;
        let plan = active_plan(&client, one, PlanKind::Meal).await.unwrap().unwrap();
        assert_eq!(plan.quiz_result_id, None);
    }

    let tx = client.transaction();
    let plan = NewPlan {
        id: Uuid::new_v4(),
        user_id: Uuid::new_v4(),
        quiz_result_id: None,
        requested_at: Clock::system().now(),
        plan_data: RawValue::NULL,
        columns: MEAL,
    };
    assert_eq!(save_plan(&tx, &plan).await.unwrap(), None);
}

/// The app's database may allow one row a quiz, one row a user, both or neither,
/// and its rows may wait there as placeholders.
#[tokio::test]
async fn a_row_that_a_constraint_of_the_app_keeps_unique_becomes_the_plan() {
    const QUIZ: &str = "unique (user_id, quiz_result_id)";
    const USER: &str = "unique (user_id)";
    for constraints in [&[QUIZ][..], &[USER], &[QUIZ, USER], &[]] {
        let database = TestDatabase::new().await;
        let mut client = database.client().await;
        for table in ["ai_meal_plans", "ai_workout_plans"] {
            for constraint in constraints {
                let sql = format!("alter table public.{table} add {constraint}");
                client.batch_execute(&sql).await.unwrap();
            }
        }
        let one = user(&client).await;
        let quiz =
            "insert into public.quiz_results (user_id, answers) values ($1, '{}') returning id";
        let first: Uuid = client.query_one(quiz, &[&one]).await.unwrap().get(0);
        let second: Uuid = client.query_one(quiz, &[&one]).await.unwrap().get(0);
        for kind in PlanKind::ALL {
            let (table, columns) = match kind {
                PlanKind::Meal => ("ai_meal_plans", MEAL),
                PlanKind::Workout => ("ai_workout_plans", WORKOUT),
            };
            let beside =
                if *kind == PlanKind::Meal { "" } else { ", workout_type, duration_per_session" };
            let values = if *kind == PlanKind::Meal { "" } else { ", '', ''" };
            let placeholder = format!(
                "insert into public.{table} (user_id, quiz_result_id, status, is_active{beside})
                 values ($1, $2, 'generating', false{values}) returning id"
            );
            let waiting: Uuid =
                client.query_one(&placeholder, &[&one, &first]).await.unwrap().get(0);
            let rows = async |client: &Client| -> i64 {
                let sql = format!("select count(*) from public.{table} where user_id = $1");
                client.query_one(&sql, &[&one]).await.unwrap().get(0)
            };
            let one_a_quiz = constraints.contains(&QUIZ);
            let one_a_user = constraints.contains(&USER);

            let made = save(&mut client, one, Some(first), &json!({"n": 1}), columns).await;
            assert_eq!(made, waiting, "{constraints:?}");
            let again = save(&mut client, one, Some(first), &json!({"n": 2}), columns).await;
            assert_eq!(again == made, one_a_quiz || one_a_user, "{constraints:?}");
            let other = save(&mut client, one, Some(second), &json!({"n": 3}), columns).await;
            assert_eq!(other == made, one_a_user, "{constraints:?}");
            let expected = match (one_a_user, one_a_quiz) {
                (true, _) => 1,
                (false, true) => 2,
                (false, false) => 3,
            };
            assert_eq!(rows(&client).await, expected, "{constraints:?}");

            assert_eq!(active_ids(&client, one, *kind).await, [other], "{constraints:?}");
            let plan = active_plan(&client, one, *kind).await.unwrap().unwrap();
            assert_eq!((plan.quiz_result_id, plan.plan_data), (Some(second), json!({"n": 3})));
            let took = format!(
                "select extract(epoch from generated_at - created_at)::float8 from public.{table}
                 where id = $1"
            );
            let took: f64 = client.query_one(&took, &[&other]).await.unwrap().get(0);
            assert!((19.0..60.0).contains(&took), "{constraints:?}: {took}");
        }
    }
}

#[tokio::test]
async fn plans_are_read_by_their_owner_only_and_empty_ones_do_not_count() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (one, two) = (user(&client).await, user(&client).await);
    assert_eq!(active_plan(&client, one, PlanKind::Workout).await.unwrap(), None);
    let stuck = "insert into public.ai_workout_plans
                     (user_id, workout_type, duration_per_session) values ($1, '', '')";
    client.execute(stuck, &[&one]).await.unwrap();
    assert_eq!(active_plan(&client, one, PlanKind::Workout).await.unwrap(), None);

    save(&mut client, one, None, &json!(1), WORKOUT).await;
    save(&mut client, one, None, &json!(2), WORKOUT).await;
    let own = active_plan(&client, one, PlanKind::Workout).await.unwrap();
    assert_eq!(own.unwrap().plan_data, json!(2));
    assert_eq!(active_plan(&client, two, PlanKind::Workout).await.unwrap(), None);
    assert_eq!(active_plan(&client, one, PlanKind::Meal).await.unwrap(), None);
}
