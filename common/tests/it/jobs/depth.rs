//! The count of what waits: it agrees with the rows whatever happens to them,
//! and costs the same however many there are.

use std::time::Duration;

use futures_util::future::join_all;
use regimen_common::db::jobs::{self, QueueHealth};
use regimen_common::db::{Client, Transaction};
use regimen_common::job::JobClass;
use regimen_common::test_support::TestDatabase;
use uuid::Uuid;

use super::shared::{
    accept, buffers, claim, end, expire_overdue, hold, lose_leases, release, request, user_of,
};

async fn health(client: &mut Client) -> QueueHealth {
    jobs::queue_health(client).await.unwrap()
}

/// What is counted, and what is there.
async fn counted_and_there(client: &mut Client) -> [(i64, i64); 2] {
    let counted = health(client).await;
    let mut found = [(0, 0); 2];
    for (class, found) in [JobClass::Pro, JobClass::Free].into_iter().zip(&mut found) {
        let sql = "select count(*) from regimen.jobs where state = 'queued' and class = $1";
        let there = client.query_one(sql, &[&class.as_str()]).await.unwrap().get(0);
        *found = (counted.classes[&class].waiting, there);
    }
    found
}

async fn assert_agreement(client: &mut Client, at_least: i64) {
    let found = counted_and_there(client).await;
    for (counted, there) in found {
        assert_eq!(counted, there, "pro and free, counted and there: {found:?}");
        assert!(there >= at_least, "{found:?}");
    }
}

async fn retry(tx: &Transaction<'_>, held: jobs::Held) {
    let wait = Duration::from_secs(60);
    jobs::retry_later(tx, held, "waiting_retry", wait, "", true, 2).await.unwrap().unwrap();
}

/// A life of each kind: ended, released, retried, left to wait, cancelled.
async fn live(client: &mut Client, class: JobClass) {
    let user = user_of(client, class).await;
    let (ids, dispatched) = accept(client, &request(user, 5)).await;
    let held: Vec<_> = claim(client, &dispatched, "w")
        .await
        .into_iter()
        .map(|claimed| jobs::Held { id: claimed.id, fence: claimed.fence })
        .collect();
    end(client, held[0]).await;
    release(client, &held[1..]).await;
    let next = hold(client, held[1].id, "w").await;
    let tx = client.transaction();
    retry(&tx, next).await;
    tx.commit().await.unwrap();
    let tx = client.transaction();
    jobs::cancel(&tx, ids[4], jobs::Canceller::Operator, 2).await.unwrap();
    tx.commit().await.unwrap();
    // Undone: it was never there.
    let tx = client.transaction();
    jobs::cancel(&tx, ids[3], jobs::Canceller::Operator, 2).await.unwrap();
    tx.rollback().await.unwrap();
}

#[tokio::test]
async fn the_count_agrees_with_the_rows_after_many_lives_at_once() {
    let database = TestDatabase::new().await;
    let mut clients = join_all((0..12).map(|_| database.client())).await;
    for _ in 0..3 {
        let lives = clients.iter_mut().enumerate().map(|(n, client)| {
            live(client, if n % 2 == 0 { JobClass::Pro } else { JobClass::Free })
        });
        join_all(lives).await;
    }
    let client = &mut clients[0];
    assert_agreement(client, 18).await;
    // What operators may do by hand, many rows in one statement.
    for by_hand in [
        "update regimen.jobs set expires_at = now() - interval '1 s' where first_claimed_at is null",
        "update regimen.jobs set class = 'pro' where class = 'free' and last_seq % 2 = 0",
        "update regimen.jobs set state = 'running', worker_id = 'w', dispatched_at = null, lease_expires_at = now() + interval '1 h'
         where first_claimed_at is not null and state = 'queued'",
        "delete from regimen.jobs where id in (select id from regimen.jobs where state = 'queued'
                                               limit 3)",
    ] {
        client.batch_execute(by_hand).await.unwrap();
        assert_agreement(client, 0).await;
    }
    lose_leases(client).await;
    assert_agreement(client, 1).await;
    assert!(!expire_overdue(client, 1_000).await.is_empty());
    assert_agreement(client, 0).await;
    let sql = "select count(*) from regimen.waiting_jobs";
    let parts: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(parts <= 2 * 12, "as many parts as writers at once, not {parts}");
}

/// Writers of the count do not wait for each other.
#[tokio::test]
async fn a_writer_that_stands_still_holds_up_no_other() {
    let database = TestDatabase::new().await;
    let (mut still, mut other) = (database.client().await, database.client().await);
    accept(&mut still, &request(Uuid::now_v7(), 1)).await;
    let tx = still.transaction();
    tx.batch_execute("update regimen.jobs set state = 'cancelled', finished_at = now()")
        .await
        .unwrap();
    let new = request(Uuid::now_v7(), 1);
    let waits = accept(&mut other, &new);
    tokio::time::timeout(Duration::from_secs(20), waits).await.expect("it waits for the other");
    tx.rollback().await.unwrap();
    assert_eq!(health(&mut other).await.classes[&JobClass::Free].waiting, 2);
}

/// Ids stand in Redis since ten minutes ago and were pushed again a moment ago.
const WAITING: &str = "
    insert into regimen.jobs (id, user_id, generation_id, kind, class, input, run_at,
                              dispatched_at, pushed_at, created_at, expires_at, updated_at)
    select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'meal',
           case n % 4 when 0 then 'pro' else 'free' end, '{}', now() - interval '20 minutes',
           now() - interval '10 minutes' + n * interval '1 microsecond', now(),
           now() - interval '20 minutes', now() + interval '1 day', now()
    from generate_series(1, COUNT) n";

#[tokio::test]
async fn depth_and_age_cost_the_same_at_a_hundred_jobs_and_at_half_a_million() {
    let database = TestDatabase::new().await;
    let client = &mut database.client().await;
    client.batch_execute("set plan_cache_mode = force_generic_plan").await.unwrap();
    let mut looks = Vec::new();
    let mut all = 0;
    for (statements, jobs) in [(1, 100), (5, 99_980)] {
        for _ in 0..statements {
            client.batch_execute(&WAITING.replace("COUNT", &jobs.to_string())).await.unwrap();
            all += jobs;
        }
        health(client).await;
        let before = buffers(client).await;
        let found = health(client).await;
        jobs::backlog(client, Duration::from_secs(60)).await.unwrap();
        looks.push(buffers(client).await - before);
        let (pro, free) = (found.classes[&JobClass::Pro], found.classes[&JobClass::Free]);
        assert_eq!((pro.waiting, free.waiting), (all / 4, all - all / 4));
        for class in [pro, free] {
            assert!((600..660).contains(&class.oldest.as_secs()), "{class:?}");
        }
    }
    println!("buffers touched with 100 and with 500,000 waiting jobs: {looks:?}");
    assert!(looks[1] <= looks[0] + 10, "buffers with 100 and with 500,000 jobs: {looks:?}");
}
