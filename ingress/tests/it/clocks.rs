//! An ingress whose clock is off: what it pushes is judged by the database's.

use chrono::{DateTime, TimeDelta, Utc};
use regimen_common::clock::Clock;
use regimen_common::dispatch::{List, Queue};
use regimen_common::test_support::{TestDatabase, TestRedis};
use serde_json::json;
use uuid::Uuid;

use crate::harness::quiz;
use crate::ingress::Ingress;

/// A message from the future would make every job that was dispatched before
/// it look lost: pushed again and again, while it stands there.
#[tokio::test]
async fn a_job_pushed_by_an_ingress_ahead_of_time_says_when_it_was_dispatched() {
    for ahead in [60, -60] {
        let (database, redis) = (TestDatabase::new().await, TestRedis::new());
        let clock = Clock::fixed(Clock::system().now() + TimeDelta::seconds(ahead));
        let ingress = Ingress::start_at(&database, &redis, &[], clock).await;
        let request = json!({"kinds": ["meal"], "answers": quiz()});
        let url = format!("{}/v1/plans", ingress.url);
        let post = ingress.client.post(url).header("x-user-id", Uuid::new_v4().to_string());
        let answer = post.json(&request).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{:?}", answer.text().await);
        let queue = Queue::new(ingress.state.redis.clone());
        let pushed = async {
            loop {
                if let Some(at) = queue.oldest(List::Free).await.unwrap() {
                    return at;
                }
            }
        };
        let pushed = tokio::time::timeout(std::time::Duration::from_secs(60), pushed);
        let pushed = pushed.await.expect("the job's id in Redis");
        let sql = "select dispatched_at from regimen.jobs";
        let row = database.client().await.query_one(sql, &[]).await.unwrap();
        let dispatched: DateTime<Utc> = row.get(0);
        assert_eq!(pushed.timestamp_millis(), dispatched.timestamp_millis(), "{ahead} s ahead");
    }
}
