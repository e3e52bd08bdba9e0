//! What counts against a user's month, and what does not.

use regimen_common::db::generations;
use regimen_common::db::jobs::{self, Acceptance, NewJobs};
use regimen_common::job::{FailureCode, PlanKind};
use regimen_common::test_support::TestDatabase;
use uuid::Uuid;

use crate::jobs::shared::request;

/// A user with one counted generation of two jobs.
async fn generation(database: &TestDatabase) -> (Uuid, Uuid) {
    let mut new = request(Uuid::new_v4(), 2);
    new.jobs[1].kind = PlanKind::Workout;
    assert!(counts(database, new.clone()).await);
    (new.user_id, new.generation_id)
}

/// Whether a request is accepted while the month limits it.
async fn counts(database: &TestDatabase, new: NewJobs) -> bool {
    let new = NewJobs { monthly_quota: true, ..new };
    let accepted = jobs::accept(&mut database.client().await, &new).await.unwrap();
    matches!(accepted, Acceptance::Accepted { .. })
}

async fn used(database: &TestDatabase, user: Uuid) -> i64 {
    generations::month(&database.client().await, user).await.unwrap().used
}

async fn end_meal_job(database: &TestDatabase, generation: Uuid, state: &str, code: Option<&str>) {
    let sql = "update regimen.jobs set state = $2, error_code = $3, finished_at = now()
               where generation_id = $1 and kind = 'meal'";
    let touched = database.client().await.execute(sql, &[&generation, &state, &code]).await;
    assert_eq!(touched.unwrap(), 1);
}

#[tokio::test]
async fn a_failure_of_ours_gives_the_generation_back() {
    let database = TestDatabase::new().await;
    for code in FailureCode::ALL {
        let (user, generation) = generation(&database).await;
        assert_eq!(used(&database, user).await, 1);
        end_meal_job(&database, generation, "failed", Some(code.as_str())).await;
        assert_eq!(used(&database, user).await == 0, code.is_ours(), "{code}");
    }
}

#[tokio::test]
async fn an_expired_job_counts_as_our_failure_and_other_ends_do_not() {
    let database = TestDatabase::new().await;
    for (state, left) in [("expired", 0), ("succeeded", 1), ("cancelled", 1)] {
        let (user, generation) = generation(&database).await;
        end_meal_job(&database, generation, state, None).await;
        assert_eq!(used(&database, user).await, left, "{state}");
    }
}

#[tokio::test]
async fn generations_at_once_stop_at_the_plans_number() {
    let database = TestDatabase::new().await;
    let (user, _) = generation(&database).await;
    let takes = (0..20).map(|_| counts(&database, request(user, 1)));
    let counted = futures_util::future::join_all(takes).await;
    assert_eq!(counted.iter().filter(|counted| **counted).count(), 9);
    let month = generations::month(&database.client().await, user).await.unwrap();
    assert_eq!((month.allowed, month.used, month.left()), (10, 10, 0));
}

#[tokio::test]
async fn last_months_generations_are_history() {
    let database = TestDatabase::new().await;
    let (user, generation) = generation(&database).await;
    let client = database.client().await;
    let sql = "update regimen.generations
               set at = date_trunc('month', now() at time zone 'utc') at time zone 'utc'
                        - interval '1 microsecond'
               where id = $1";
    client.execute(sql, &[&generation]).await.unwrap();
    assert_eq!(used(&database, user).await, 0);
}

#[tokio::test]
async fn what_an_operator_gives_counts_for_one_month() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let (user, _) = generation(&database).await;
    client.batch_execute("update public.plans set monthly_ai_generations = 1").await.unwrap();
    let next = || {
        let mut new = request(user, 2);
        new.jobs[1].kind = PlanKind::Workout;
        new.user_id = user;
        new
    };
    assert!(!counts(&database, next()).await, "the month is used up");
    // Of an earlier month, and another user's.
    client
        .execute(
            "insert into regimen.extra_generations (user_id, month, number)
             values ($1, date_trunc('month', now() at time zone 'utc') - interval '1 month', 9)",
            &[&user],
        )
        .await
        .unwrap();
    assert_eq!(generations::month(&client, user).await.unwrap().allowed, 1);
    assert!(!counts(&database, next()).await, "nothing of the month before counts");
    assert_eq!(generations::give_extra(&client, Uuid::new_v4(), 7).await.unwrap(), 7);
    assert_eq!(generations::month(&client, user).await.unwrap().allowed, 1);
    assert!(!counts(&database, next()).await, "nor what somebody else was given");
    let kept = "select count(*) from regimen.extra_generations where user_id = $1";
    let kept = client.query_one(kept, &[&user]).await.unwrap().get::<_, i64>(0);
    assert_eq!(kept, 0, "months that are over are removed");
    assert_eq!(generations::give_extra(&client, user, 1).await.unwrap(), 1);
    assert_eq!(generations::give_extra(&client, user, 1).await.unwrap(), 2);
    assert_eq!(generations::month(&client, user).await.unwrap().allowed, 3);
    assert!(counts(&database, next()).await && counts(&database, next()).await);
    assert!(!counts(&database, next()).await, "two more, and no third");
}
