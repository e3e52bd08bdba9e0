//! Whose turn it is to look for undelivered events, on real Postgres.

use std::time::Duration;

use regimen_common::db::Client;
use regimen_common::db::billing::backfill::{self, Occasion, Tally};
use regimen_common::db::billing::claims::Failure;
use regimen_common::test_support::TestDatabase;

const HOLD: Duration = Duration::from_secs(60);
const DAILY: Occasion = Occasion::Due(Duration::from_secs(86_400));

async fn begin(client: &Client, holder: &str, occasion: Occasion) -> bool {
    backfill::begin(client, holder, occasion, HOLD).await.unwrap()
}

async fn pass(client: &Client, column: &str, time: &str) {
    let sql = format!("update regimen.stripe_backfill set {column} = {column} - interval '{time}'");
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn of_many_at_once_one_begins() {
    let database = TestDatabase::new().await;
    let begun = (0..12).map(|n| {
        let pool = database.pool().clone();
        tokio::spawn(
            async move { begin(&pool.get().await.unwrap(), &format!("w{n}"), DAILY).await },
        )
    });
    let begun = futures_util::future::join_all(begun).await;
    assert_eq!(begun.iter().filter(|begun| *begun.as_ref().unwrap()).count(), 1);
}

#[tokio::test]
async fn a_silent_holder_is_replaced_and_changes_nothing_any_more() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    assert!(begin(&client, "first", DAILY).await);
    assert!(!begin(&client, "second", Occasion::Asked).await);
    pass(&client, "held_until", "30 seconds").await;
    assert!(backfill::hold_on(&client, "first", HOLD).await.unwrap());
    pass(&client, "held_until", "61 seconds").await;
    assert!(begin(&client, "second", DAILY).await);
    assert!(!backfill::hold_on(&client, "first", HOLD).await.unwrap());
    assert!(!backfill::complete(&client, "first", &Tally::default()).await.unwrap());
    let failure = Failure { code: "stripe_away", detail: "no answer" };
    assert!(!backfill::fail(&client, "first", &failure).await.unwrap());
    backfill::cancellation(&client, "first").await.unwrap();
    let standing = backfill::standing(&client).await.unwrap();
    assert_eq!((standing.holder.as_deref(), standing.failures), (Some("second"), 0));
}

#[tokio::test]
async fn it_is_time_a_day_after_the_last_complete_run_and_whenever_asked() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    assert!(begin(&client, "first", DAILY).await);
    assert!(backfill::complete(&client, "first", &Tally::default()).await.unwrap());
    assert!(!begin(&client, "second", DAILY).await);
    assert!(begin(&client, "second", Occasion::Asked).await);
    backfill::cancellation(&client, "second").await.unwrap();
    assert!(!begin(&client, "second", DAILY).await, "broken off, but the first was complete");
    pass(&client, "complete_at", "24 hours").await;
    assert!(begin(&client, "second", DAILY).await);
}

#[tokio::test]
async fn failures_put_the_next_run_off_for_longer_each_time() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let failure = Failure { code: "stripe_away", detail: "no answer" };
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert!(begin(&client, "w", DAILY).await, "{minutes}");
        assert!(backfill::fail(&client, "w", &failure).await.unwrap());
        assert!(!begin(&client, "w", DAILY).await);
        pass(&client, "retry_at", &format!("{} seconds", minutes * 60 - 10)).await;
        assert!(!begin(&client, "w", DAILY).await, "{minutes} minutes are not over");
        pass(&client, "retry_at", "10 seconds").await;
    }
    let standing = backfill::standing(&client).await.unwrap();
    assert_eq!((standing.failures, standing.error.0.as_deref()), (8, Some("stripe_away")));
    assert!(begin(&client, "w", DAILY).await);
    let tally = Tally { looked_at: 9, recovered: 2, ..Tally::default() };
    assert!(backfill::complete(&client, "w", &tally).await.unwrap());
    let standing = backfill::standing(&client).await.unwrap();
    assert_eq!((standing.failures, standing.error), (0, (None, None)));
    assert!(standing.complete_at.is_some());
}
