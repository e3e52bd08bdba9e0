//! The ten indexes: each exists under its name, and the planner takes it for
//! the query it is for, on tables large enough to make the choice real.

use regimen_common::db::Client;
use regimen_common::test_support::TestDatabase;
use serde_json::Value;

/// 500 users, and per user as many rows as a busy one has. Triggers and
/// foreign keys are out of the way: this is about the planner.
const ROWS: &str = "
    set session_replication_role = replica;
    create temporary table users as
        select gen_random_uuid() as id, n from generate_series(1, 500) n;
    insert into public.profiles (id, email, plan_id)
        select gen_random_uuid(), 'x', case when n % 100 = 0 then 'pro' else 'free' end
        from generate_series(1, 20000) n;
    insert into public.quiz_results (user_id, answers, created_at)
        select id, '{}', now() - k * interval '1 day' from users, generate_series(1, 40) k;
    insert into public.ai_meal_plans (user_id, is_active)
        select id, k = 1 from users, generate_series(1, 40) k;
    insert into public.ai_workout_plans (user_id, is_active, workout_type, duration_per_session)
        select id, k = 1, '', '' from users, generate_series(1, 40) k;
    insert into public.challenge_participants (challenge_id, user_id, completed)
        select c.id, u.id, (u.n + c.n) % 20 = 0
        from users u, (select id, n from users where n <= 40) c;
    insert into public.workout_logs (user_id, workout_type, workout_date)
        select id, '', current_date - k from users, generate_series(1, 40) k;
    insert into public.daily_nutrition_logs (user_id, meal_type, log_date)
        select id, '', current_date - k from users, generate_series(1, 40) k;
    insert into public.daily_water_intake (user_id, log_date)
        select id, current_date - k from users, generate_series(1, 40) k;
    insert into public.notifications (recipient_id, entity_id, read, created_at)
        select id, id, k > 10, now() - k * interval '1 hour' from users, generate_series(1, 40) k;
    analyze;
";

/// The index, and the query it is for. `USER` is the user asking.
const PURPOSES: [(&str, &str); 10] = [
    (
        "idx_ai_meal_plans_user_active",
        "select plan_data from public.ai_meal_plans where user_id = USER and is_active",
    ),
    (
        "idx_ai_workout_plans_user_active",
        "select plan_data from public.ai_workout_plans where user_id = USER and is_active",
    ),
    (
        "idx_challenge_participants_challenge_completed",
        "select user_id from public.challenge_participants
         where challenge_id = (select challenge_id from public.challenge_participants limit 1)
            and completed",
    ),
    (
        "idx_challenge_participants_user_completed",
        "select challenge_id from public.challenge_participants
         where user_id = USER and completed",
    ),
    (
        "idx_workout_logs_user_date",
        "select * from public.workout_logs where user_id = USER
         order by workout_date desc limit 10",
    ),
    (
        "idx_daily_nutrition_logs_user_date",
        "select * from public.daily_nutrition_logs
         where user_id = USER and log_date >= current_date - 7 order by log_date desc",
    ),
    (
        "idx_daily_water_intake_user_date",
        "select * from public.daily_water_intake where user_id = USER and log_date = current_date",
    ),
    (
        "idx_quiz_results_user_created",
        "select * from public.quiz_results where user_id = USER order by created_at desc limit 1",
    ),
    (
        "idx_notifications_recipient_read_created",
        "select * from public.notifications where recipient_id = USER and not read
         order by created_at desc limit 5",
    ),
    ("idx_profiles_plan", "select id from public.profiles where plan_id <> 'free'"),
];

/// Names of the indexes a plan reads, wherever in its tree.
fn indexes_in(plan: &Value, found: &mut Vec<String>) {
    match plan {
        Value::Object(node) => {
            if let Some(Value::String(name)) = node.get("Index Name") {
                found.push(name.clone());
            }
            node.values().for_each(|value| indexes_in(value, found));
        }
        Value::Array(nodes) => nodes.iter().for_each(|node| indexes_in(node, found)),
        _ => {}
    }
}

async fn indexes_used(client: &Client, query: &str) -> Vec<String> {
    let plan: Value =
        client.query_one(&format!("explain (format json) {query}"), &[]).await.unwrap().get(0);
    let mut found = Vec::new();
    indexes_in(&plan, &mut found);
    found
}

#[tokio::test]
async fn each_index_serves_the_query_it_is_for() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    client.batch_execute(ROWS).await.unwrap();
    for (index, query) in PURPOSES {
        let query = query.replace("USER", "(select id from users where n = 250)");
        let used = indexes_used(&client, &query).await;
        assert!(used.iter().any(|name| name == index), "{index} unused; the plan reads {used:?}");

        // The choice hangs on the index: without it the plan is another one.
        client.batch_execute(&format!("begin; drop index public.{index}")).await.unwrap();
        assert!(!indexes_used(&client, &query).await.iter().any(|name| name == index));
        client.batch_execute("rollback").await.unwrap();
    }
}
