//! A transaction that begins with its first statement and may end with its last one: what is
//! sent together is done or undone together.

use std::time::Duration;

use futures_util::FutureExt;
use regimen_common::db::{self, Client, DbError, Pool, Transaction};
use regimen_common::test_support::TestDatabase;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

const SOON: Duration = Duration::from_secs(10);
const ADD: &str = "insert into numbers (n) values ($1) returning n";

/// A pool of one connection, and a table of different numbers.
async fn numbers() -> (TestDatabase, Pool) {
    let database = TestDatabase::new().await;
    let pool = db::pool(&database.secret_url(), 1, "regimen-transaction-test").unwrap();
    let client = pool.get().await.unwrap();
    client.batch_execute("create table numbers (n int primary key)").await.unwrap();
    client.prepare_cached(ADD).await.unwrap();
    (database, pool)
}

async fn written(client: &Client) -> Vec<i32> {
    let rows = client.query("select n from numbers order by n", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Adds each and commits.
async fn add_last(tx: &Transaction<'_>, numbers: &[i32]) -> Result<Vec<Vec<Row>>, DbError> {
    let statement = tx.prepare_cached(ADD).await.unwrap();
    let values: Vec<[&(dyn ToSql + Sync); 1]> = numbers.iter().map(|n| [n as _]).collect();
    let of_each: Vec<_> = values.iter().map(<[_; 1]>::as_slice).collect();
    tx.commit_after(&statement, &of_each).await
}

#[tokio::test]
async fn what_is_not_committed_is_undone_and_its_connection_is_used_again() {
    let (database, pool) = numbers().await;
    let mut client = pool.get().await.unwrap();
    let tx = client.transaction();
    tx.execute(ADD, &[&1_i32]).await.unwrap();
    drop(tx);
    // In no transaction any more, what it writes is there for others.
    client.execute(ADD, &[&2_i32]).await.unwrap();
    assert_eq!(written(&database.client().await).await, [2]);

    // One that was never begun has nothing to end.
    client.transaction().commit().await.unwrap();
    client.transaction().rollback().await.unwrap();
    drop(client.transaction());
    assert_eq!(written(&client).await, [2]);
}

#[tokio::test]
async fn a_commit_does_not_wait_for_the_answers_before_it() {
    let (database, pool) = numbers().await;
    let mut client = pool.get().await.unwrap();
    let tx = client.transaction();
    // Its first poll is its last one.
    assert!(add_last(&tx, &[1, 2]).now_or_never().is_none());
    drop(tx);
    let other = database.client().await;
    let committed = async { while written(&other).await != [1, 2] {} };
    assert!(timeout(SOON, committed).await.is_ok(), "{:?}", written(&other).await);
    assert_eq!(written(&client).await, [1, 2]);
}

#[tokio::test]
async fn the_rows_of_each_are_returned() {
    let (_database, pool) = numbers().await;
    let mut client = pool.get().await.unwrap();
    let tx = client.transaction();
    tx.execute(ADD, &[&7_i32]).await.unwrap();
    let rows = add_last(&tx, &[3, 2]).await.unwrap();
    drop(tx);
    let returned: Vec<Vec<i32>> =
        rows.iter().map(|rows| rows.iter().map(|row| row.get(0)).collect()).collect();
    assert_eq!(returned, [[3], [2]]);
    assert_eq!(written(&client).await, [2, 3, 7]);
}

#[tokio::test]
async fn one_that_is_refused_undoes_them_all_and_is_told() {
    let (_database, pool) = numbers().await;
    let mut client = pool.get().await.unwrap();
    let tx = client.transaction();
    tx.execute(ADD, &[&7_i32]).await.unwrap();
    let error = add_last(&tx, &[1, 7, 2]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION), "{error}");
    assert!(!error.is_uncertain());
    drop(tx);
    assert_eq!(written(&client).await, [0; 0]);
}

#[tokio::test]
async fn nothing_is_committed_when_the_driver_refuses_a_value() {
    let (_database, pool) = numbers().await;
    let mut client = pool.get().await.unwrap();
    let tx = client.transaction();
    tx.execute(ADD, &[&7_i32]).await.unwrap();
    let statement = tx.prepare_cached(ADD).await.unwrap();
    let of_each: [&[&(dyn ToSql + Sync)]; 2] = [&[&1_i32], &[&"a word"]];
    let error = tx.commit_after(&statement, &of_each).await.unwrap_err();
    assert!(error.code().is_none() && !error.is_uncertain(), "{error}");
    drop(tx);
    assert_eq!(written(&client).await, [0; 0]);
}

#[tokio::test]
async fn a_commit_whose_statement_takes_too_long_is_uncertain() {
    let (_database, pool) = numbers().await;
    let mut client = pool.within(Duration::from_millis(300)).get().await.unwrap();
    let tx = client.transaction();
    let statement = tx.prepare_cached("select pg_sleep($1)").await.unwrap();
    let error = tx.commit_after(&statement, &[&[&60_f64]]).await.unwrap_err();
    assert!(error.is_uncertain(), "{error}");
}
