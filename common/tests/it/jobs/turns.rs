//! Whose turn it is: no user has more than its share, nobody waits behind
//! somebody else's backlog, and nothing due is forgotten.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use regimen_common::db::jobs::{Acceptance, ClassHealth, Held};
use regimen_common::db::{self, jobs};
use regimen_common::dispatch::Weights;
use regimen_common::job::JobClass;
use regimen_common::test_support::TestDatabase;
use uuid::Uuid;

use super::shared::{
    PER_USER, accept, claim, claim_waiting, dispatch_ready, end, expire_overdue, hold, lose_leases,
    next_ids, one_job, policy, redispatch_lost, release, request, user_of,
};

const EVEN: Weights = Weights { first: 1, second: 1 };

#[tokio::test]
async fn a_user_has_no_more_than_its_share_dispatched() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = Uuid::now_v7();
    let (ids, dispatched) = accept(&mut client, &request(user, 5)).await;
    assert_eq!(dispatched, ids[..2]);
    let (_, dispatched) = accept(&mut client, &request(user, 1)).await;
    assert!(dispatched.is_empty());
    // What runs stands in the user's share like what waits in Redis.
    let held = hold(&client, ids[0], "w").await;
    assert_eq!(jobs::dispatch_next(&client, &[user], PER_USER).await.unwrap(), []);
    assert_eq!(end(&mut client, held).await, [ids[2]]);
}

/// Whatever stands in Redis, twice even: the cap holds at the claim.
#[tokio::test]
async fn workers_that_claim_at_once_keep_to_the_cap_of_a_user() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = Uuid::now_v7();
    let (ids, _) = accept(&mut client, &request(user, 40)).await;
    let workers = (0..8).map(|worker| {
        let (database, ids) = (&database, &ids);
        async move {
            let client = database.client().await;
            let mut claimed = Vec::new();
            for pair in ids.chunks(2) {
                claimed.extend(claim(&client, pair, &format!("worker {worker}")).await);
            }
            claimed
        }
    });
    let claimed: Vec<_> = join_all(workers).await.into_iter().flatten().collect();
    let running: HashSet<_> = claimed.iter().map(|claimed| claimed.id).collect();
    assert_eq!((claimed.len(), running.len()), (2, 2));
    let fences: HashSet<_> = claimed.iter().map(|claimed| claimed.fence).collect();
    assert_eq!(fences.len(), 2);

    // The refused ones wait in order and come when a place is free.
    let held = Held { id: claimed[0].id, fence: claimed[0].fence };
    let next = end(&mut client, held).await;
    let oldest = ids.iter().find(|id| !running.contains(*id)).unwrap();
    assert_eq!(next, [*oldest]);
}

/// Under a snapshot the cap would not hold; the database's own default must not matter.
#[tokio::test]
async fn claims_are_made_under_read_committed_and_refused_otherwise() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (ids, _) = accept(&mut client, &request(Uuid::now_v7(), 2)).await;
    let for_all = "do $do$ begin execute format('alter database %I set
        default_transaction_isolation to %L', current_database(), 'repeatable read'); end $do$";
    client.batch_execute(for_all).await.unwrap();

    let pool = db::pool(&database.secret_url(), 1, "test").unwrap();
    let client = pool.get().await.unwrap();
    assert_eq!(claim(&client, &ids[..1], "worker").await.len(), 1);

    client.batch_execute("reset default_transaction_isolation").await.unwrap();
    let refused = jobs::claim(&client, &ids[1..], &policy("worker")).await.unwrap_err();
    assert!(format!("{refused:?}").contains("read committed"), "{refused:?}");
}

#[tokio::test]
async fn a_newcomer_is_claimed_before_the_backlog_of_another_user() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (heavy, light) = (Uuid::now_v7(), Uuid::now_v7());
    accept(&mut client, &request(heavy, 10_000)).await;
    let (first, _) = accept(&mut client, &request(light, 1)).await;
    // While Redis is away too.
    let claimed = claim_waiting(&mut client, 100, EVEN).await;
    let of = |user| claimed.iter().filter(|claimed| claimed.user_id == user).count();
    assert_eq!((of(heavy), of(light)), (2, 1));
    assert!(claimed.iter().any(|claimed| claimed.id == first[0]));
}

#[tokio::test]
async fn direct_claims_give_each_class_its_share() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    for class in [JobClass::Pro, JobClass::Free] {
        for _ in 0..30 {
            let user = user_of(&client, class).await;
            accept(&mut client, &request(user, 1)).await;
        }
    }
    let weights = Weights { first: 4, second: 1 };
    let claimed = claim_waiting(&mut client, 20, weights).await;
    let mut classes = Vec::new();
    for claimed in &claimed {
        let sql = "select class from regimen.jobs where id = $1";
        classes.push(client.query_one(sql, &[&claimed.id]).await.unwrap().get::<_, String>(0));
    }
    let pro = classes.iter().filter(|class| *class == "pro").count();
    assert_eq!((pro, classes.len() - pro), (16, 4));
    // One class alone gets everything.
    claim_waiting(&mut client, 14, Weights { first: 1, second: 0 }).await;
    assert_eq!(claim_waiting(&mut client, 100, weights).await.len(), 26);
}

#[tokio::test]
async fn direct_claims_of_many_workers_share_the_work() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    for _ in 0..100 {
        one_job(&mut client).await;
    }
    let workers = (0..8).map(|_| {
        let database = &database;
        async move {
            let mut client = database.client().await;
            let mut claimed = Vec::new();
            loop {
                let more = claim_waiting(&mut client, 5, EVEN).await;
                if more.is_empty() {
                    return claimed;
                }
                claimed.extend(more.into_iter().map(|claimed| claimed.id));
            }
        }
    });
    let claimed = join_all(workers).await;
    let all: HashSet<_> = claimed.iter().flatten().collect();
    // A worker may find everything locked and stop early; none takes what another has.
    assert_eq!(all.len(), claimed.iter().map(Vec::len).sum::<usize>());
    assert_eq!(claim_waiting(&mut client, 1_000, EVEN).await.len() + all.len(), 100);
}

#[tokio::test]
async fn a_retry_waits_for_its_time_and_then_for_its_turn() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = Uuid::now_v7();
    let (ids, _) = accept(&mut client, &request(user, 3)).await;
    let held = hold(&client, ids[0], "w").await;
    let tx = client.transaction();
    let hour = Duration::from_secs(3600);
    let ended = jobs::retry_later(&tx, held, "waiting_retry", hour, "", true, PER_USER).await;
    tx.commit().await.unwrap();
    // Its place went to the next; it is not due and cannot be claimed.
    assert_eq!(next_ids(&[ended.unwrap().unwrap()]), [ids[2]]);
    assert!(claim(&client, &[ids[0]], "w").await.is_empty());
    assert_eq!(dispatch_ready(&mut client, None, 10).await.0, []);

    let due = "update regimen.jobs set run_at = now() where id = $1";
    client.execute(due, &[&ids[0]]).await.unwrap();
    assert_eq!(dispatch_ready(&mut client, None, 10).await.0, []);
    let held = hold(&client, ids[1], "w").await;
    assert_eq!(end(&mut client, held).await, [ids[0]]);
}

/// A chain that broke, for instance by a crash between refusal and end.
#[tokio::test]
async fn forgotten_jobs_are_found_page_by_page() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let mut expected = HashSet::new();
    for _ in 0..25 {
        expected.insert(one_job(&mut client).await);
    }
    client.batch_execute("update regimen.jobs set dispatched_at = null").await.unwrap();
    let (mut found, mut pages, mut after) = (HashSet::new(), 0, None);
    loop {
        let (next, last) = dispatch_ready(&mut client, after, 10).await;
        found.extend(next.iter().map(|next| next.id));
        pages += 1;
        after = last;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (expected, 3));
}

#[tokio::test]
async fn what_left_redis_without_a_claim_is_dispatched_again() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let again = async |popped_before, grace| {
        let (mut client, grace) = (database.client().await, Duration::from_secs(grace));
        let next = redispatch_lost(&mut client, popped_before, grace, 10).await;
        next.iter().map(|next| next.id).collect::<Vec<_>>()
    };
    // Still on its way, or behind the oldest message that stands there.
    assert!(again(None, 60).await.is_empty());
    let row = jobs::job(&client, id, None).await.unwrap().unwrap();
    assert!(again(Some(row.created_at - chrono::TimeDelta::seconds(1)), 0).await.is_empty());
    // The list is empty, or its oldest message is younger.
    assert_eq!(again(None, 0).await, [id]);
    let later = Some(row.created_at + chrono::TimeDelta::hours(1));
    assert_eq!(again(later, 0).await, [id]);
    // A claimed job is nobody's loss.
    hold(&client, id, "w").await;
    assert!(again(None, 0).await.is_empty());
}

#[tokio::test]
async fn a_job_has_waited_since_its_turn_whatever_was_pushed_again() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (pushed, waiting) = (one_job(&mut client).await, one_job(&mut client).await);
    let minutes_ago = "update regimen.jobs set dispatched_at = now() - interval '5 minutes'";
    client.batch_execute(minutes_ago).await.unwrap();
    let before = jobs::details(&client, &[pushed]).await.unwrap()[&pushed].turn_since;
    let again = async |grace| {
        let mut client = database.client().await;
        redispatch_lost(&mut client, None, Duration::from_secs(grace), 1).await
    };
    let first = again(60).await;
    assert_eq!(again(60).await.len(), 1, "the other one");
    assert!(again(60).await.is_empty(), "both were put there a moment ago");
    let health = jobs::queue_health(&mut client).await.unwrap();
    let (free, pro) = (health.classes[&JobClass::Free], health.classes[&JobClass::Pro]);
    assert!(free.waiting == 2 && free.oldest >= Duration::from_secs(300), "{free:?}");
    assert_eq!(pro, ClassHealth::default());
    let details = jobs::details(&client, &[pushed, waiting]).await.unwrap();
    assert_eq!(details[&pushed].turn_since, before, "its place in the line is kept");
    // The message says when it was put there, so that it is not taken for lost at once.
    let sql = "select extract(epoch from now() - $1::timestamptz)::float8 < 60";
    let fresh: bool = client.query_one(sql, &[&first[0].at]).await.unwrap().get(0);
    assert!(fresh, "{first:?}");
}

#[tokio::test]
async fn messages_say_the_time_of_the_database() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let new = request(Uuid::now_v7(), 5);
    let Acceptance::Accepted { dispatch, .. } = jobs::accept(&mut client, &new).await.unwrap()
    else {
        panic!("not accepted")
    };
    assert_eq!(dispatch.len(), 2);
    let held = hold(&client, dispatch[0].id, "w").await;
    let back = release(&mut client, &[held]).await.remove(0).next;
    assert!(back[0].returned);
    client.batch_execute("delete from regimen.jobs where dispatched_at is not null").await.unwrap();
    let next = jobs::dispatch_next(&client, &[new.user_id], 1).await.unwrap();
    let ready = dispatch_ready(&mut client, None, 10).await.0;
    assert_eq!((next.len(), ready.len()), (1, 1));
    for next in next.iter().chain(&ready) {
        let turn = jobs::details(&client, &[next.id]).await.unwrap()[&next.id].turn_since;
        assert_eq!(Some(next.at), turn);
    }
    let sql = "select count(*) from unnest($1::timestamptz[]) t
               where t between now() - interval '1 minute' and now()";
    let told: Vec<_> = dispatch.iter().chain(&back).map(|next| next.at).collect();
    let sound: i64 = client.query_one(sql, &[&told]).await.unwrap().get(0);
    assert_eq!(sound, told.len() as i64, "{told:?}");
}

#[tokio::test]
async fn position_counts_turns_before_and_own_jobs_before() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let heavy = Uuid::now_v7();
    let (ids, _) = accept(&mut client, &request(heavy, 50)).await;
    let newcomer = one_job(&mut client).await;
    let payer = user_of(&client, JobClass::Pro).await;
    let pro = accept(&mut client, &request(payer, 1)).await.0[0];
    let position = async |id| {
        let lines = jobs::lines(&mut database.client().await, 1_000, Duration::from_secs(60))
            .await
            .unwrap();
        let details = jobs::details(&client, &[id]).await.unwrap().remove(&id).unwrap();
        lines[&details.class].ahead(&details)
    };
    assert_eq!(position(newcomer).await, 2);
    assert_eq!(position(pro).await, 0);
    // Two own jobs and the newcomer's have their turn; 17 own ones wait before it.
    assert_eq!(position(ids[19]).await, 3 + 17);
}

#[tokio::test]
async fn expiry_is_for_jobs_nobody_started() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = Uuid::now_v7();
    let (ids, _) = accept(&mut client, &request(user, 4)).await;
    hold(&client, ids[0], "w").await;
    lose_leases(&mut client).await;
    let overdue = "update regimen.jobs set expires_at = now() where id = any($1)";
    client.execute(overdue, &[&ids[..2].to_vec()]).await.unwrap();
    // Claimable until somebody says otherwise, but no longer started once overdue.
    assert!(claim(&client, &ids[1..2], "w").await.is_empty());
    let expired = expire_overdue(&mut client, 10).await;
    assert_eq!(expired.iter().map(|ended| ended.job_id).collect::<Vec<_>>(), [ids[1]]);
    assert_eq!(next_ids(&expired), [ids[2]]);
    hold(&client, ids[0], "w").await;
}
