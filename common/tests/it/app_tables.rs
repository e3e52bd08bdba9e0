//! What the app finds in its own tables: a row for each generation that failed,
//! and a plan, a counter and a customer that users cannot write.

use regimen_common::db::{Client, Transaction};
use regimen_common::test_support::TestDatabase;
use serde_json::{Value, json};
use uuid::Uuid;

async fn profile(client: &Client) -> Uuid {
    let user = Uuid::new_v4();
    let sql = "insert into public.profiles (id, email) values ($1, 'ana@example.test')";
    client.execute(sql, &[&user]).await.unwrap();
    user
}

async fn quiz(client: &Client, user: Uuid) -> Uuid {
    let sql = "insert into public.quiz_results (user_id, answers) values ($1, '{}') returning id";
    client.query_one(sql, &[&user]).await.unwrap().get(0)
}

/// A running job, accepted a minute ago and begun half a minute ago, that then ends so.
async fn end_job(client: &Client, user: Uuid, quiz: Option<Uuid>, kind: &str, state: &str) {
    let job = Uuid::new_v4();
    let accept = "insert into regimen.jobs (id, user_id, generation_id, kind, class, state,
                      worker_id, lease_expires_at, quiz_result_id, input, run_at, created_at,
                      first_claimed_at, expires_at, updated_at)
                  values ($1, $2, $1, $4, 'free', 'running', 'w', now(), $3, '{}', now(),
                      now() - interval '60 s', now() - interval '30 s', now(), now())";
    client.execute(accept, &[&job, &user, &quiz, &kind]).await.unwrap();
    let end = "update regimen.jobs set state = $2, stage = 'done', finished_at = now(),
                   worker_id = null, lease_expires_at = null,
                   error_code = case when $2 = 'failed' then 'providers_exhausted' end,
                   error_detail = case when $2 = 'failed' then 'nobody answered' end
               where id = $1";
    client.execute(end, &[&job, &state]).await.unwrap();
}

/// Of each of the user's rows: state, message, seconds from request to begin, quiz, active.
async fn rows(client: &Client, user: Uuid, kind: &str) -> Vec<Value> {
    let sql = format!(
        "select jsonb_build_array(status, error_message,
             round(extract(epoch from generated_at - created_at)), quiz_result_id, is_active)
         from public.ai_{kind}_plans where user_id = $1 order by created_at, id"
    );
    client.query(&sql, &[&user]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_generation_that_failed_leaves_a_row_for_the_apps_analytics() {
    for constraint in ["", "unique (user_id, quiz_result_id)", "unique (user_id)"] {
        let database = TestDatabase::new().await;
        let client = database.client().await;
        for kind in ["meal", "workout"] {
            if !constraint.is_empty() {
                let sql = format!("alter table public.ai_{kind}_plans add {constraint}");
                client.batch_execute(&sql).await.unwrap();
            }
            let user = profile(&client).await;
            let quiz = quiz(&client, user).await;
            end_job(&client, user, Some(quiz), kind, "cancelled").await;
            assert_eq!(rows(&client, user, kind).await, [] as [Value; 0]);
            end_job(&client, user, Some(quiz), kind, "failed").await;
            let failed = json!(["failed", "nobody answered", 30, quiz, false]);
            assert_eq!(rows(&client, user, kind).await, [failed], "{constraint}");

            let other = profile(&client).await;
            end_job(&client, other, None, kind, "expired").await;
            let late = json!(["failed", "the plan could not be started in time", 30, null, false]);
            assert_eq!(rows(&client, other, kind).await, [late]);
        }
    }
}

#[tokio::test]
async fn a_row_that_waits_becomes_the_failed_one_and_a_plan_stays() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let (waiting, having) = (profile(&client).await, profile(&client).await);
    let unique = "alter table public.ai_meal_plans add unique (user_id, quiz_result_id)";
    client.batch_execute(unique).await.unwrap();
    let first = quiz(&client, waiting).await;
    let placeholder = "insert into public.ai_meal_plans (user_id, quiz_result_id, is_active,
                           created_at) values ($1, $2, false, now() - interval '61 s')";
    client.execute(placeholder, &[&waiting, &first]).await.unwrap();
    end_job(&client, waiting, Some(first), "meal", "failed").await;
    let failed = json!(["failed", "nobody answered", 31, first, false]);
    assert_eq!(rows(&client, waiting, "meal").await, [failed]);

    let second = quiz(&client, having).await;
    let plan = "insert into public.ai_meal_plans (user_id, quiz_result_id, plan_data, status)
                values ($1, $2, '{}', 'completed')";
    client.execute(plan, &[&having, &second]).await.unwrap();
    end_job(&client, having, Some(second), "meal", "failed").await;
    let kept = json!(["completed", null, 0, second, true]);
    assert_eq!(rows(&client, having, "meal").await, [kept]);
}

#[tokio::test]
async fn a_job_ends_although_the_apps_table_refuses_the_row() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let refuse = "alter table public.ai_meal_plans add check (status <> 'failed')";
    client.batch_execute(refuse).await.unwrap();
    let user = profile(&client).await;
    end_job(&client, user, None, "meal", "failed").await;
    assert_eq!(rows(&client, user, "meal").await, [] as [Value; 0]);
    // The profile is gone: nobody is there to have the row.
    end_job(&client, Uuid::new_v4(), None, "meal", "failed").await;
    let ended = "select count(*) from regimen.jobs where state = 'failed'";
    assert_eq!(client.query_one(ended, &[]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test]
async fn the_rows_of_a_user_are_found_by_an_index() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    for table in ["ai_meal_plans", "ai_workout_plans"] {
        let sql = format!(
            "select count(*) from pg_index where indrelid = 'public.{table}'::regclass
                 and indexrelid = 'public.idx_{table}_user'::regclass and indpred is null"
        );
        assert_eq!(client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0), 1);
    }
}

/// A profiles table as the app has it: its users may write every column.
async fn as_the_app_has_it(client: &Client) {
    let sql = "grant select, insert, update, delete on public.profiles to authenticated";
    client.batch_execute(sql).await.unwrap();
}

/// A transaction as PostgREST opens one for this user.
async fn signed_in<'a>(client: &'a mut Client, user: Uuid, admin: bool) -> Transaction<'a> {
    let tx = client.transaction();
    let role = if admin { "admin" } else { "user" };
    let claims = json!({"sub": user, "role": "authenticated", "app_metadata": {"role": role}});
    let sql = "select set_config('request.jwt.claims', $1, true)";
    tx.execute(sql, &[&claims.to_string()]).await.unwrap();
    tx.batch_execute("set local role authenticated").await.unwrap();
    tx
}

/// Name, plan, customer, counter and renewal of a profile.
async fn standing(client: &Client, user: Uuid) -> Value {
    let sql = "select jsonb_build_array(full_name, plan_id, stripe_customer_id, ai_gen_quiz_count,
                   plan_renewal_date) from public.profiles where id = $1";
    client.query_one(sql, &[&user]).await.unwrap().get(0)
}

const FORM: &str = "update public.profiles set full_name = 'Ana', plan_id = 'pro',
                        stripe_customer_id = 'cus_other', ai_gen_quiz_count = 0,
                        plan_renewal_date = '2099-01-01' where id = $1";

#[tokio::test]
async fn users_write_their_profile_and_not_what_they_are_entitled_to() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    as_the_app_has_it(&client).await;
    let user = profile(&client).await;
    let used = "update public.profiles set ai_gen_quiz_count = 7, stripe_customer_id = 'cus_own'
                where id = $1";
    client.execute(used, &[&user]).await.unwrap();

    let tx = signed_in(&mut client, user, false).await;
    assert_eq!(tx.execute(FORM, &[&user]).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let kept = json!(["Ana", "free", "cus_own", 7, null]);
    assert_eq!(standing(&client, user).await, kept);

    // Signing up, with everything in the form.
    let newcomer = Uuid::new_v4();
    let tx = signed_in(&mut client, newcomer, false).await;
    let sign_up = "insert into public.profiles (id, email, full_name, plan_id, stripe_customer_id,
                       ai_gen_quiz_count, plan_renewal_date)
                   values ($1, 'x', 'Bo', 'pro', 'cus_own', -100, '2099-01-01')";
    tx.execute(sign_up, &[&newcomer]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(standing(&client, newcomer).await, json!(["Bo", "free", null, 0, null]));

    // The service, and the app's own functions that run with their owner's rights.
    client.execute(FORM, &[&user]).await.unwrap();
    assert_eq!(standing(&client, user).await, json!(["Ana", "pro", "cus_other", 0, "2099-01-01"]));
    let count = "create function public.count_one(who uuid) returns void language sql
                 security definer as $$ update public.profiles
                     set ai_gen_quiz_count = ai_gen_quiz_count + 1 where id = who $$";
    client.batch_execute(count).await.unwrap();
    let tx = signed_in(&mut client, user, false).await;
    tx.execute("select public.count_one($1)", &[&user]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(standing(&client, user).await[3], 1);
}

#[tokio::test]
async fn admins_of_the_app_write_plans_by_claim_or_by_their_table() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    as_the_app_has_it(&client).await;
    // Its operators may write everybody's rows, as the app's own policies say.
    client.batch_execute("create policy operators on public.profiles using (true)").await.unwrap();
    let user = profile(&client).await;
    let operator = profile(&client).await;
    let change = "update public.profiles set plan_id = 'pro' where id = $1";
    let back = "update public.profiles set plan_id = 'free' where id = $1";

    let tx = signed_in(&mut client, operator, false).await;
    tx.execute(change, &[&user]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(standing(&client, user).await[1], "free");

    let tx = signed_in(&mut client, operator, true).await;
    tx.execute(change, &[&user]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(standing(&client, user).await[1], "pro");
    client.execute(back, &[&user]).await.unwrap();

    // Nobody may read the table of admins, and it decides all the same.
    client.batch_execute("create table public.admin_users (id uuid primary key)").await.unwrap();
    client.execute("insert into public.admin_users values ($1)", &[&operator]).await.unwrap();
    for (who, expected) in [(user, "free"), (operator, "pro")] {
        let tx = signed_in(&mut client, who, false).await;
        tx.execute(change, &[&user]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(standing(&client, user).await[1], expected);
    }
}
