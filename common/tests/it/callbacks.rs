//! What is owed to callback addresses: written with the end of the job, and
//! claimed by one at a time, fairly.

use std::collections::HashSet;
use std::time::Duration;

use regimen_common::db::Client;
use regimen_common::db::callbacks::{self, CallbackOutcome, ClaimedCallback, Due, Room};
use regimen_common::test_support::TestDatabase;
use uuid::Uuid;

const HOLD: Duration = Duration::from_secs(60);

/// A running job with this callback address.
async fn job(client: &Client, user: Uuid, url: Option<&str>) -> Uuid {
    let sql = "insert into regimen.jobs (id, user_id, generation_id, kind, class, state, input,
                   callback_url, worker_id, lease_expires_at, run_at, created_at, expires_at,
                   updated_at)
               values (gen_random_uuid(), $1, gen_random_uuid(), 'meal', 'free', 'running', '{}',
                   $2, 'w', now(), now(), now(), now(), now())
               returning id";
    client.query_one(sql, &[&user, &url]).await.unwrap().get(0)
}

const END: &str = "update regimen.jobs set state = $2, worker_id = null, lease_expires_at = null,
                       finished_at = now(), error_code = case when $2 = 'failed' then 'refused' end
                   where id = $1";

/// A job that has ended.
async fn ended(client: &Client, user: Uuid, url: &str) -> Uuid {
    let job = job(client, user, Some(url)).await;
    client.execute(END, &[&job, &"succeeded"]).await.unwrap();
    job
}

async fn owed(client: &Client) -> i64 {
    client.query_one("select count(*) from regimen.callbacks", &[]).await.unwrap().get(0)
}

fn room(hosts: &[(&str, i64)], limit: i64) -> Room {
    let hosts = hosts.iter().map(|(host, room)| ((*host).to_owned(), *room)).collect();
    Room { hosts, users: Vec::new(), per_user: 100, limit }
}

async fn claim(client: &mut Client, room: &Room) -> Vec<ClaimedCallback> {
    let due = Due { room, hold: HOLD, quarantine: &[] };
    let outcome = callbacks::claim(client, &due).await.unwrap();
    assert!(outcome.poisoned.is_empty(), "{:?}", outcome.poisoned);
    outcome.done
}

fn jobs(owed: &[ClaimedCallback]) -> HashSet<Uuid> {
    owed.iter().map(|owed| owed.message.data.id).collect()
}

#[tokio::test]
async fn every_end_is_owed_in_its_own_transaction() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = Uuid::new_v4();
    for state in ["succeeded", "failed", "cancelled", "expired"] {
        let job = job(&client, user, Some("https://One.Example:8443/hook?x")).await;
        let before = owed(&client).await;
        let tx = client.transaction();
        tx.execute(END, &[&job, &state]).await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(owed(&client).await, before, "{state} did not happen");
        client.execute(END, &[&job, &state]).await.unwrap();
        assert_eq!(owed(&client).await, before + 1, "{state}");
    }
    let claimed = claim(&mut client, &room(&[("one.example:8443", 10)], 10)).await;
    let told: HashSet<_> = claimed.iter().map(|owed| owed.message.kind.as_str()).collect();
    assert_eq!(
        told,
        HashSet::from(["job.succeeded", "job.failed", "job.cancelled", "job.expired"])
    );
    assert!(claimed.iter().all(|owed| owed.url == "https://One.Example:8443/hook?x"));
}

#[tokio::test]
async fn nothing_is_owed_without_an_address_or_before_the_end() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let quiet = job(&client, Uuid::new_v4(), None).await;
    client.execute(END, &[&quiet, &"succeeded"]).await.unwrap();
    let back = job(&client, Uuid::new_v4(), Some("https://one.example/")).await;
    let sql = "update regimen.jobs set state = 'queued', worker_id = null, lease_expires_at = null
               where id = $1";
    client.execute(sql, &[&back]).await.unwrap();
    assert_eq!(owed(&client).await, 0);
}

#[tokio::test]
async fn whoever_claims_first_has_it_until_the_claim_runs_out() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    for _ in 0..50 {
        ended(&client, Uuid::new_v4(), "https://one.example/").await;
    }
    let claims = (0..5).map(|_| async {
        claim(&mut database.client().await, &room(&[("one.example", 50)], 20)).await
    });
    let claimed = futures_util::future::join_all(claims).await;
    let all: Vec<ClaimedCallback> = claimed.into_iter().flatten().collect();
    assert_eq!(jobs(&all).len(), all.len(), "nothing twice");
    let rest = claim(&mut client, &room(&[("one.example", 50)], 50)).await;
    assert_eq!(all.len() + rest.len(), 50);
    client.execute("update regimen.callbacks set run_at = now()", &[]).await.unwrap();
    let again = claim(&mut client, &room(&[("one.example", 50)], 1)).await.remove(0);
    assert_eq!(again.attempts, 2);
    // The first holder comes too late, the second one settles it.
    let first = ClaimedCallback { attempts: 1, ..again.clone() };
    let end = async |owed| {
        callbacks::ended(&client, owed, &CallbackOutcome::Delivered, Some(200), None).await
    };
    assert!(!end(&first).await.unwrap());
    assert!(end(&again).await.unwrap());
    assert!(!end(&again).await.unwrap(), "settled is settled");
}

#[tokio::test]
async fn a_host_and_a_user_get_no_more_than_their_room() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (greedy, other) = (Uuid::new_v4(), Uuid::new_v4());
    for _ in 0..20 {
        ended(&client, greedy, "https://slow.example/").await;
    }
    for n in 0..6 {
        ended(&client, greedy, &format!("https://h{n}.example/")).await;
    }
    let others = ended(&client, other, "https://slow.example/").await;
    let host = claim(&mut client, &room(&[("slow.example", 3)], 10)).await;
    assert_eq!(host.len(), 3);
    // The greedy one sends three already and may send five.
    let hosts: Vec<String> = (0..6).map(|n| format!("h{n}.example")).collect();
    let hosts: Vec<(&str, i64)> = hosts.iter().map(|host| (host.as_str(), 3)).collect();
    let held = Room { users: vec![(greedy, 3)], per_user: 5, ..room(&hosts, 10) };
    assert_eq!(claim(&mut client, &held).await.len(), 2);
    // Who has none left is no wall before those behind.
    let full = Room { users: vec![(greedy, 5)], per_user: 5, ..room(&[("slow.example", 3)], 10) };
    assert_eq!(jobs(&claim(&mut client, &full).await), HashSet::from([others]));
}

#[tokio::test]
async fn the_walk_over_the_hosts_meets_each_that_is_due() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    for host in ["c.example", "a.example", "b.example", "b.example", "d.example"] {
        ended(&client, Uuid::new_v4(), &format!("https://{host}/")).await;
    }
    let later = "update regimen.callbacks set run_at = now() + interval '1 hour'
                 where host = 'c.example'";
    client.execute(later, &[]).await.unwrap();
    let (mut after, mut met, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = callbacks::hosts(&mut client, after.as_deref(), 2).await.unwrap();
        met.extend(page.due);
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((met, pages), (["a.example", "b.example", "d.example"].map(String::from).into(), 3));
    let (waiting, late) = callbacks::health(&mut client).await.unwrap();
    assert!(waiting == 5 && late < Duration::from_secs(60), "{waiting} {late:?}");
}

/// However much one host is owed, a look at another costs the same few pages.
#[tokio::test]
async fn a_look_goes_along_the_index() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    ended(&client, Uuid::new_v4(), "https://z.example/").await;
    let sql = "set session_replication_role = replica;
        insert into regimen.callbacks (job_id, user_id, url, host)
            select gen_random_uuid(), gen_random_uuid(), 'https://a.example/', 'a.example'
            from generate_series(1, 20000);
        set session_replication_role = origin;
        analyze regimen.callbacks";
    client.batch_execute(sql).await.unwrap();
    let stats =
        "select idx_tup_read from pg_stat_all_indexes where indexrelname = 'callbacks_waiting'";
    let flush = "select pg_stat_force_next_flush()";
    client.execute(flush, &[]).await.unwrap();
    let before: i64 = client.query_one(stats, &[]).await.unwrap().get(0);
    let hosts = callbacks::hosts(&mut client, None, 100).await.unwrap();
    assert_eq!(hosts.due, ["a.example", "z.example"]);
    assert_eq!(claim(&mut client, &room(&[("z.example", 5)], 5)).await.len(), 1);
    client.execute(flush, &[]).await.unwrap();
    let after: i64 = client.query_one(stats, &[]).await.unwrap().get(0);
    assert!(after - before < 100, "{} entries read", after - before);
}
