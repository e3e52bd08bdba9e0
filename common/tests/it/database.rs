//! The test database itself: isolated, migrated, and gone afterwards.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use regimen_common::db;
use regimen_common::test_support::TestDatabase;
use secrecy::SecretString;

async fn exists(name: &str) -> bool {
    let url = std::env::var("REGIMEN_TEST_DATABASE_URL").unwrap();
    let admin = db::connect(&SecretString::from(url), "test").await.unwrap();
    let sql = "select 1 from pg_database where datname = $1";
    admin.query_opt(sql, &[&name]).await.unwrap().is_some()
}

fn name_of(database: &TestDatabase) -> String {
    database.url().rsplit('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn two_tests_do_not_see_each_other() {
    let (one, two) = (TestDatabase::new().await, TestDatabase::new().await);
    one.client().await.batch_execute("delete from public.plans").await.unwrap();
    let left = two.client().await.query_one("select count(*) from public.plans", &[]).await;
    assert_eq!(left.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test]
async fn it_is_gone_after_the_test_although_somebody_is_connected() {
    let database = TestDatabase::new().await;
    let name = name_of(&database);
    let _still_connected = db::connect(&database.secret_url(), "test").await.unwrap();
    assert!(exists(&name).await);
    drop(database);
    assert!(!exists(&name).await);
}

#[tokio::test]
async fn a_panicking_test_leaves_nothing() {
    let database = TestDatabase::new().await;
    let name = name_of(&database);
    let test = async move {
        let _client = database.client().await;
        panic!("as a failing test does");
    };
    assert!(AssertUnwindSafe(test).catch_unwind().await.is_err());
    assert!(!exists(&name).await);
}

#[tokio::test]
async fn an_empty_one_has_no_tables() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    let sql = "select count(*) from pg_tables where schemaname in ('public', 'regimen')";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
}
