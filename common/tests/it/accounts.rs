//! Profiles and quizzes: made when missing, never taken from others.

use regimen_common::account::PlanTier;
use regimen_common::db::accounts::{ensure_profile, plan_tier, users_by_email};
use regimen_common::test_support::TestDatabase;
use uuid::Uuid;

use crate::jobs::shared::buffers;

#[tokio::test]
async fn a_profile_is_made_once_with_the_claimed_email() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let user = Uuid::new_v4();
    assert_eq!(plan_tier(&client, user).await.unwrap(), None);
    assert!(ensure_profile(&client, user, Some("ada@example.test")).await.unwrap());
    assert!(!ensure_profile(&client, user, Some("other@example.test")).await.unwrap());

    let sql = "select email, plan_id, ai_gen_quiz_count from public.profiles where id = $1";
    let row = client.query_one(sql, &[&user]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "ada@example.test");
    assert_eq!(row.get::<_, String>(1), "free");
    assert_eq!(row.get::<_, i32>(2), 0);
    assert_eq!(plan_tier(&client, user).await.unwrap(), Some(PlanTier::Free));
}

#[tokio::test]
async fn a_profile_without_an_email_claim_has_an_empty_one() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let user = Uuid::new_v4();
    assert!(ensure_profile(&client, user, None).await.unwrap());
    let sql = "select email from public.profiles where id = $1";
    assert_eq!(client.query_one(sql, &[&user]).await.unwrap().get::<_, String>(0), "");
}

#[tokio::test]
async fn first_requests_at_once_make_one_profile() {
    let database = TestDatabase::new().await;
    let user = Uuid::new_v4();
    let requests = (0..8)
        .map(|_| async { ensure_profile(&database.client().await, user, None).await.unwrap() });
    let made = futures_util::future::join_all(requests).await;
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
}

#[tokio::test]
async fn the_tier_follows_the_plan() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let more = "insert into public.plans (id, name, monthly_ai_generations, is_active)
                values ('family', 'Family', 1, null), ('old', 'Old', 1, false)";
    client.batch_execute(more).await.unwrap();
    let user = Uuid::new_v4();
    ensure_profile(&client, user, None).await.unwrap();
    for (plan, tier) in [
        (Some("pro"), PlanTier::Pro),
        (Some("family"), PlanTier::Pro),
        (Some("old"), PlanTier::Free),
        (Some("free"), PlanTier::Free),
        (None, PlanTier::Free),
    ] {
        let sql = "update public.profiles set plan_id = $2 where id = $1";
        client.execute(sql, &[&user, &plan]).await.unwrap();
        assert_eq!(plan_tier(&client, user).await.unwrap(), Some(tier), "{plan:?}");
    }
}

#[tokio::test]
async fn users_are_found_by_address_or_its_beginning_along_the_index() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    // The plan is made while there is next to nothing.
    for _ in 0..8 {
        assert!(users_by_email(&client, "Ada@", 20).await.unwrap().is_empty());
    }
    client
        .batch_execute(
            "set session_replication_role = replica;
             insert into public.profiles (id, email)
                 select gen_random_uuid(), 'user' || n || '@example.test'
                 from generate_series(1, 20000) n;
             insert into public.profiles (id, email) values
                 (gen_random_uuid(), 'ADA@Example.test'), (gen_random_uuid(), 'ada@example.test.uk'),
                 (gen_random_uuid(), 'adah@example.test'), (gen_random_uuid(), 'ad%@example.test'),
                 (gen_random_uuid(), 'ädä@example.test');
             set session_replication_role = origin;",
        )
        .await
        .unwrap();
    let found = async |start: &str| -> Vec<String> {
        let users = users_by_email(&client, start, 20).await.unwrap();
        users.into_iter().map(|user| user.email).collect()
    };
    // The exact one first, whatever its case; no character is a wildcard.
    assert_eq!(found("ada@example.TEST").await, ["ADA@Example.test", "ada@example.test.uk"]);
    assert_eq!(found("ADA").await.len(), 3);
    assert_eq!(found("ad%").await, ["ad%@example.test"]);
    assert_eq!(found("äd").await, ["ädä@example.test"]);
    assert!(found("da@").await.is_empty());
    // One address of 20,000, and the first twenty of as many, read a few pages.
    for start in ["user19999@", "user"] {
        let before = buffers(&client).await;
        assert!(!found(start).await.is_empty());
        let read = buffers(&client).await - before;
        assert!(read < 100, "{start}: {read} buffers");
    }
}
