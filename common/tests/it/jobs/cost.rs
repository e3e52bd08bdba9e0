//! What the hot statements read with 100,000 jobs waiting: a bounded number of
//! index entries and rows, never the table.

use std::time::Duration;

use regimen_common::db::Client;
use regimen_common::db::jobs::{self, Held};
use regimen_common::dispatch::Weights;
use regimen_common::job::JobClass;
use regimen_common::test_support::TestDatabase;
use uuid::Uuid;

use super::shared::{
    PER_USER, accept, claim_waiting, dispatch_ready, end, expire_overdue, policy, recover_leases,
    redispatch_lost, request,
};

/// One user with 50,000 jobs; 5,000 users with 9 each, of which 2 have their
/// turn, 3 wait for it and 4 wait for a retry that is not due; 10,000 ended.
const ROWS: &str = "
    insert into regimen.jobs (id, user_id, generation_id, kind, class, input, run_at,
                              dispatched_at, created_at, expires_at, updated_at)
    select gen_random_uuid(), u.id, u.id, 'meal', 'free', '{}',
           now() - interval '1 hour' + k * interval '1 second'
               + case when k > 5 then interval '1 day' else interval '0' end,
           case when k <= 2 then now() - interval '1 hour' + n * interval '1 ms' end,
           now() - interval '1 hour' + k * interval '1 second', now() + interval '1 day', now()
    from (select gen_random_uuid() as id, n from generate_series(1, 5000) n) u,
         generate_series(1, 9) k;
    insert into regimen.jobs (id, user_id, generation_id, kind, class, input, run_at,
                              dispatched_at, created_at, expires_at, updated_at)
    select gen_random_uuid(), '00000000-0000-0000-0000-00000000cafe', gen_random_uuid(), 'meal',
           'free', '{}', now() - interval '2 hours' + k * interval '1 ms',
           case when k <= 2 then now() - interval '2 hours' end,
           now() - interval '2 hours' + k * interval '1 ms', now() + interval '1 day', now()
    from generate_series(1, 50000) k;
    insert into regimen.jobs (id, user_id, generation_id, kind, class, state, input, run_at,
                              created_at, expires_at, updated_at, finished_at)
    select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'meal', 'free', 'succeeded',
           '{}', now(), now(), now(), now(), now()
    from generate_series(1, 10000) k;
    insert into public.profiles (id, email)
    select distinct user_id, 'x' from regimen.jobs where state = 'queued';
    analyze regimen.jobs;
    analyze public.profiles;
";

const HEAVY: Uuid = Uuid::from_u128(0xcafe);

/// Index entries and table rows of `regimen.jobs` read so far by this session's
/// finished statements; whole-table reads count a million each.
async fn reads(client: &Client) -> i64 {
    client.batch_execute("select pg_stat_force_next_flush()").await.unwrap();
    let sql = "select (select sum(idx_tup_read)::bigint from pg_stat_user_indexes
                       where schemaname = 'regimen' and relname = 'jobs')
                    + (select seq_scan * 1000000 + coalesce(idx_tup_fetch, 0)
                       from pg_stat_user_tables
                       where schemaname = 'regimen' and relname = 'jobs')";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn hot_statements_read_little_of_a_long_queue() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    client.batch_execute(ROWS).await.unwrap();
    let mut before = reads(&client).await;
    let mut bounded = Vec::new();
    let mut note = |what: &'static str, most: i64, now: i64| {
        let read = now - std::mem::replace(&mut before, now);
        bounded.push((what, read, most));
    };

    let newcomer = Uuid::now_v7();
    let (ids, dispatched) = accept(&mut client, &request(newcomer, 3)).await;
    assert_eq!(dispatched.len(), 2);
    note("accept", 20, reads(&client).await);

    let claimed = jobs::claim(&client, &dispatched, &policy("w")).await.unwrap();
    assert_eq!(claimed.len(), 2);
    note("claim", 100, reads(&client).await);

    let held: Vec<_> =
        claimed.iter().map(|claimed| Held { id: claimed.id, fence: claimed.fence }).collect();
    let kept = jobs::extend_lease(&client, "w", Duration::from_secs(60)).await.unwrap();
    assert_eq!(kept.len(), held.len());
    note("extend the lease", 20, reads(&client).await);

    let last = "select id from regimen.jobs where user_id = $1 order by created_at desc limit 1";
    let last: Uuid = client.query_one(last, &[&HEAVY]).await.unwrap().get(0);
    note("the last job of the heavy user", 50, reads(&client).await);
    let details = jobs::details(&client, &[last]).await.unwrap();
    assert_eq!(details[&last].own_ahead, 1_000);
    note("details", 2_500, reads(&client).await);

    let lines = jobs::lines(&mut client, 1_000, Duration::from_secs(60)).await.unwrap();
    assert_eq!(lines[&JobClass::Free].turns.len(), 1_000);
    assert!(lines[&JobClass::Free].pace > 0.0);
    note("lines", 7_000, reads(&client).await);

    assert_eq!(end(&mut client, held[0]).await, [ids[2]]);
    note("fail and dispatch next", 100, reads(&client).await);

    jobs::dispatch_next(&client, &[HEAVY], PER_USER).await.unwrap();
    note("dispatch next of the heavy user", 50, reads(&client).await);

    let (next, last) = dispatch_ready(&mut client, None, 500).await;
    assert_eq!((next.len(), last.is_some()), (0, true));
    note("dispatch ready, 500 users", 10_000, reads(&client).await);

    redispatch_lost(&mut client, None, Duration::ZERO, 200).await;
    note("redispatch lost, 200 jobs", 5_000, reads(&client).await);

    recover_leases(&mut client, 200).await;
    expire_overdue(&mut client, 200).await;
    note("nothing lost, nothing overdue", 20, reads(&client).await);

    let weights = Weights { first: 4, second: 1 };
    let direct = claim_waiting(&mut client, 64, weights).await;
    assert_eq!(direct.len(), 64);
    note("claim 64 directly", 5_000, reads(&client).await);

    let health = jobs::queue_health(&mut client).await.unwrap();
    let sql = "select count(*) from regimen.jobs where state = 'queued'";
    let waiting: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(health.classes[&JobClass::Free].waiting, waiting);
    note("the count, to compare", i64::MAX, reads(&client).await);
    jobs::queue_health(&mut client).await.unwrap();
    // Entries of what was claimed a moment ago are passed over, until they are cleared away.
    note("queue health", 400, reads(&client).await);
    let backlog = jobs::backlog(&mut client, Duration::from_secs(60)).await.unwrap();
    assert_eq!(backlog.queued, waiting);
    note("backlog, the pace of 2,000 ends", 5_000, reads(&client).await);

    let over: Vec<_> = bounded.iter().filter(|(_, read, most)| read > most).collect();
    assert!(over.is_empty(), "read more than they may: {over:?} of {bounded:?}");
}
