//! The triggers of a database we set up behave as the app's do.

use regimen_common::db::Client;
use regimen_common::test_support::TestDatabase;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

async fn user(client: &Client) -> Uuid {
    let user = Uuid::new_v4();
    let sql = "insert into public.profiles (id, email) values ($1, 'x')";
    client.execute(sql, &[&user]).await.unwrap();
    user
}

async fn add_workout(client: &Client, user: Uuid, active: bool) -> Uuid {
    let sql = "insert into public.ai_workout_plans
                   (user_id, workout_type, duration_per_session, is_active)
               values ($1, '', '', $2) returning id";
    client.query_one(sql, &[&user, &active]).await.unwrap().get(0)
}

async fn active(client: &Client, user: Uuid) -> Vec<Uuid> {
    let sql = "select id from public.ai_workout_plans where user_id = $1 and is_active";
    client.query(sql, &[&user]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn the_plan_made_active_last_is_the_only_active_one_of_its_user() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let (one, two) = (user(&client).await, user(&client).await);
    let first = add_workout(&client, one, true).await;
    let others = add_workout(&client, two, true).await;
    let second = add_workout(&client, one, true).await;
    assert_eq!(active(&client, one).await, [second]);
    add_workout(&client, one, false).await;
    assert_eq!(active(&client, one).await, [second]);

    let sql = "update public.ai_workout_plans set is_active = true where id = $1";
    client.execute(sql, &[&first]).await.unwrap();
    assert_eq!(active(&client, one).await, [first]);
    assert_eq!(active(&client, two).await, [others]);
}

#[tokio::test]
async fn quizzes_count_up_to_what_the_plan_allows() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let limit = "update public.plans set monthly_ai_generations = 2 where id = 'free'";
    client.batch_execute(limit).await.unwrap();
    let user = user(&client).await;
    let quiz = "insert into public.quiz_results (user_id, answers) values ($1, '{}')";
    for _ in 0..2 {
        client.execute(quiz, &[&user]).await.unwrap();
    }
    let refused = client.execute(quiz, &[&user]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::CHECK_VIOLATION));

    let counter = "select ai_gen_quiz_count from public.profiles where id = $1";
    let counted: i32 = client.query_one(counter, &[&user]).await.unwrap().get(0);
    assert_eq!(counted, 2);
    let pro = "update public.profiles set plan_id = 'pro' where id = $1";
    client.execute(pro, &[&user]).await.unwrap();
    client.execute(quiz, &[&user]).await.unwrap();
}

#[tokio::test]
async fn quizzes_at_once_do_not_slip_past_the_limit() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let limit = "update public.plans set monthly_ai_generations = 3 where id = 'free'";
    client.batch_execute(limit).await.unwrap();
    let user = user(&client).await;
    let quizzes = (0..8).map(|_| async {
        let quiz = "insert into public.quiz_results (user_id, answers) values ($1, '{}')";
        database.client().await.execute(quiz, &[&user]).await.is_ok()
    });
    let taken = futures_util::future::join_all(quizzes).await;
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 3);
}

#[tokio::test]
async fn a_change_is_stamped() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let user = user(&client).await;
    let sql = "update public.profiles set updated_at = '2020-01-01', age = 40 where id = $1
               returning updated_at > '2026-01-01'";
    assert!(client.query_one(sql, &[&user]).await.unwrap().get::<_, bool>(0));
}
