//! Row security as two different users meet it: through the role
//! `authenticated` and the claims of a token, the way PostgREST connects them.

use regimen_common::db::{Client, Transaction};
use regimen_common::test_support::TestDatabase;
use serde_json::json;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// The tables of a user's own rows: whose they are, and how to add one.
const OWN_ROWS: [(&str, &str, &str); 9] = [
    ("public.profiles", "id", "(id, email) values ($1, 'x')"),
    ("public.quiz_results", "user_id", "(user_id, answers) values ($1, '{}')"),
    ("public.ai_meal_plans", "user_id", "(user_id) values ($1)"),
    (
        "public.ai_workout_plans",
        "user_id",
        "(user_id, workout_type, duration_per_session) values ($1, '', '')",
    ),
    (
        "public.notifications",
        "recipient_id",
        "(recipient_id, entity_id) values ($1, gen_random_uuid())",
    ),
    (
        "public.challenge_participants",
        "user_id",
        "(user_id, challenge_id) select $1, id from public.challenges",
    ),
    ("public.workout_logs", "user_id", "(user_id, workout_type) values ($1, 'run')"),
    ("public.daily_nutrition_logs", "user_id", "(user_id, meal_type) values ($1, 'lunch')"),
    ("public.daily_water_intake", "user_id", "(user_id) values ($1)"),
];

/// What a user may read of our own schema, by whom it belongs to.
const OWN_JOBS: [(&str, &str); 7] = [
    ("regimen.jobs", "user_id"),
    ("regimen.callbacks", "user_id"),
    ("regimen.generations", "user_id"),
    ("regimen.subscriptions", "user_id"),
    ("regimen.ai_usage", "user_id"),
    ("regimen.plan_origins", "user_id"),
    ("regimen.job_events", "(select j.user_id from regimen.jobs j where j.id = job_id)"),
];

/// Rows of every kind for a new user, written as the service.
async fn add_user(client: &Client) -> Uuid {
    let user = Uuid::new_v4();
    for (table, _, values) in OWN_ROWS {
        client.execute(&format!("insert into {table} {values}"), &[&user]).await.unwrap();
    }
    let generation = "insert into regimen.generations (id, user_id)
                      values (gen_random_uuid(), $1)";
    client.execute(generation, &[&user]).await.unwrap();
    let sql = "with job as (
            insert into regimen.jobs (id, user_id, generation_id, kind, class, input, run_at,
                created_at, expires_at, updated_at)
            values (gen_random_uuid(), $1, gen_random_uuid(), 'meal', 'free', '{}', now(),
                now(), now(), now())
            returning id
        ), event as (
            insert into regimen.job_events (job_id, seq, at, kind)
            select id, 1, now(), 'accepted' from job
        ), callback as (
            insert into regimen.callbacks (job_id, user_id, url, host)
            select id, $1, 'https://example.test/', 'example.test' from job
        ), attempt as (
            insert into regimen.job_attempts (id, job_id, user_id, fence, n, provider, model,
                prompt_version, started_at)
            select gen_random_uuid(), id, $1, 1, 1, 'p', 'm', '1', now() from job
        ), key as (
            insert into regimen.idempotency_keys (user_id, key, body_hash, status, response,
                created_at, expires_at)
            values ($1, 'k', '', 202, '{}', now(), now())
        ), customer as (
            insert into regimen.customers (id, user_id) values ('cus_' || $1::text, $1)
        ), subscription as (
            insert into regimen.subscriptions (id, customer_id, user_id, status, basis)
            values ('sub_' || $1::text, 'cus_' || $1::text, $1, 'active', 'checkout')
        ), origin as (
            insert into regimen.plan_origins
            select gen_random_uuid(), id, $1, 'p', 'm', '1', now() from job
        )
        insert into regimen.ai_usage
        select gen_random_uuid(), id, $1, now(), 'p', 'm', 1, 0, 1, 1 from job";
    client.execute(sql, &[&user]).await.unwrap();
    user
}

async fn two_users() -> (TestDatabase, Uuid, Uuid) {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let sql = "insert into public.challenges (difficulty, points, requirements)
               values ('easy', 1, '{}')";
    client.batch_execute(sql).await.unwrap();
    let (one, two) = (add_user(&client).await, add_user(&client).await);
    (database, one, two)
}

/// A transaction in which the database sees `user`, or nobody.
async fn acting_as(client: &mut Client, user: Option<Uuid>) -> Transaction<'_> {
    let transaction = client.transaction();
    let claims = user.map(|user| json!({ "sub": user, "role": "authenticated" }).to_string());
    transaction
        .execute("select set_config('request.jwt.claims', $1, true)", &[&claims])
        .await
        .unwrap();
    transaction.batch_execute("set local role authenticated").await.unwrap();
    transaction
}

/// The SQLSTATE a statement is refused with, leaving the transaction usable.
async fn refusal(transaction: &Transaction<'_>, sql: &str, user: Option<Uuid>) -> Option<SqlState> {
    transaction.batch_execute("savepoint before").await.unwrap();
    let result = match &user {
        Some(user) => transaction.execute(sql, &[user]).await,
        None => transaction.execute(sql, &[]).await,
    };
    transaction.batch_execute("rollback to savepoint before").await.unwrap();
    result.err().and_then(|error| error.code().cloned())
}

async fn owners(transaction: &Transaction<'_>, table: &str, owner: &str) -> Vec<Uuid> {
    let rows = transaction.query(&format!("select distinct {owner} from {table}"), &[]).await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_user_sees_only_their_own_rows() {
    let (database, one, two) = two_users().await;
    let mut client = database.client().await;
    for user in [one, two] {
        let transaction = acting_as(&mut client, Some(user)).await;
        for (table, owner, _) in OWN_ROWS {
            assert_eq!(owners(&transaction, table, owner).await, [user], "{table}");
        }
        for (table, owner) in OWN_JOBS {
            assert_eq!(owners(&transaction, table, owner).await, [user], "{table}");
        }
    }
}

#[tokio::test]
async fn nobody_sees_nothing() {
    let (database, ..) = two_users().await;
    let mut client = database.client().await;
    let transaction = acting_as(&mut client, None).await;
    for (table, owner) in OWN_ROWS.map(|(table, owner, _)| (table, owner)).iter().chain(&OWN_JOBS) {
        assert_eq!(owners(&transaction, table, owner).await, [] as [Uuid; 0], "{table}");
    }
}

#[tokio::test]
async fn the_rows_of_others_can_be_neither_changed_nor_removed_nor_forged() {
    let (database, one, two) = two_users().await;
    let mut client = database.client().await;
    let transaction = acting_as(&mut client, Some(one)).await;
    for (table, owner, values) in OWN_ROWS {
        let column = if owner == "id" { "email" } else { owner };
        let update = format!("update {table} set {column} = {column} where {owner} = $1");
        assert_eq!(transaction.execute(&update, &[&two]).await.unwrap(), 0, "{table}");
        let own = transaction.execute(&update, &[&one]).await.unwrap();
        assert_eq!(own, 1, "{table}: one's own can be changed");
        let delete = format!("delete from {table} where {owner} = $1");
        assert_eq!(transaction.execute(&delete, &[&two]).await.unwrap(), 0, "{table}");

        let insert = format!("insert into {table} {values}");
        let stranger = if owner == "id" { Uuid::new_v4() } else { two };
        let refused = refusal(&transaction, &insert, Some(stranger)).await;
        assert_eq!(refused, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{table}");
        if owner != "id" {
            let give = format!("update {table} set {owner} = '{two}' where {owner} = $1");
            let refused = refusal(&transaction, &give, Some(one)).await;
            assert_eq!(refused, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{table}");
        }
    }
}

#[tokio::test]
async fn a_user_cannot_make_themselves_pro_or_reset_their_counter() {
    let (database, one, _) = two_users().await;
    let mut client = database.client().await;
    let transaction = acting_as(&mut client, Some(one)).await;
    for change in ["plan_id = 'pro'", "ai_gen_quiz_count = 0", "stripe_customer_id = 'cus_x'"] {
        let sql = format!("update public.profiles set {change} where id = $1");
        let refused = refusal(&transaction, &sql, Some(one)).await;
        assert_eq!(refused, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{change}");
    }
    // The trigger counts all the same when the user adds a quiz.
    let sql = "insert into public.quiz_results (user_id, answers) values ($1, '{}')";
    transaction.execute(sql, &[&one]).await.unwrap();
    let sql = "select ai_gen_quiz_count from public.profiles";
    assert_eq!(transaction.query_one(sql, &[]).await.unwrap().get::<_, i32>(0), 2);
}

#[tokio::test]
async fn catalogues_are_read_and_not_written() {
    let (database, one, _) = two_users().await;
    let mut client = database.client().await;
    let transaction = acting_as(&mut client, Some(one)).await;
    for table in ["public.plans", "public.challenges"] {
        let sql = format!("select count(*) from {table}");
        assert!(transaction.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) > 0, "{table}");
        let refused = refusal(&transaction, &format!("delete from {table}"), None).await;
        assert_eq!(refused, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{table}");
    }
}

/// Holds for tables to come as well: a new one without row security fails here.
#[tokio::test]
async fn every_table_is_guarded_and_ours_are_read_only() {
    let (database, one, _) = two_users().await;
    let mut client = database.client().await;
    let sql = "select format('%I.%I', n.nspname, c.relname), c.relrowsecurity
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname in ('public', 'regimen') and c.relkind in ('r', 'p')
                   and c.relname <> 'schema_history'";
    let tables = client.query(sql, &[]).await.unwrap();
    assert!(tables.len() >= 16, "{}", tables.len());
    for table in &tables {
        assert!(table.get::<_, bool>(1), "{} has no row security", table.get::<_, String>(0));
    }

    let readable = OWN_JOBS.map(|(table, _)| table);
    let transaction = acting_as(&mut client, Some(one)).await;
    let ours = tables.iter().map(|row| row.get::<_, String>(0));
    let ours: Vec<String> = ours.filter(|name| name.starts_with("regimen.")).collect();
    for table in ours.iter().map(String::as_str).chain(["regimen.schema_history"]) {
        let delete = refusal(&transaction, &format!("delete from {table}"), None).await;
        assert_eq!(delete, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{table}");
        let select = refusal(&transaction, &format!("select * from {table}"), None).await;
        let partly = ["regimen.jobs", "regimen.subscriptions"].contains(&table);
        if partly || !readable.contains(&table) {
            // Of these, the workers' own columns are shut.
            assert_eq!(select, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{table}");
        } else {
            assert_eq!(select, None, "{table}");
        }
    }
}
