//! Requests of one moment are committed together, and each has its own answer.

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use regimen_common::db::jobs::{Acceptance, NewJob, NewJobs};
use regimen_common::dispatch::Queue;
use regimen_common::job::PlanKind;
use regimen_common::redis::Redis;
use regimen_common::test_support::{TestDatabase, TestRedis};
use regimen_ingress::acceptance::Submissions;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::json;
use serde_json::value::to_raw_value;
use uuid::Uuid;

use crate::harness::{Ingress, Send as _, plans};

/// Users whose profiles exist.
async fn users(ingress: &Ingress, n: usize) -> Vec<Uuid> {
    let users: Vec<Uuid> = (0..n).map(|_| Uuid::now_v7()).collect();
    let sql = "insert into public.profiles (id, email) select unnest($1::uuid[]), 'x'";
    ingress.database.client().await.execute(sql, &[&users]).await.unwrap();
    users
}

async fn accepted(ingress: &Ingress, users: &[Uuid]) {
    let body = plans();
    for answer in join_all(users.iter().map(|user| ingress.post("/v1/plans", *user, &body))).await {
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

#[tokio::test]
async fn requests_of_one_moment_share_transactions() {
    let ingress = Ingress::start(&[]).await;
    let users = users(&ingress, 100).await;
    accepted(&ingress, &users).await;
    let client = ingress.database.client().await;
    let sql = "select count(*), count(distinct xmin::text) from regimen.jobs";
    let row = client.query_one(sql, &[]).await.unwrap();
    let (jobs, transactions): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(jobs, 200);
    assert!(transactions < 100, "{transactions} transactions of 100 requests");
    let sql = "select count(*) from regimen.jobs where dispatched_at is null";
    let waiting: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(waiting, 0);
}

#[tokio::test]
async fn a_locked_profile_holds_up_its_own_requests_only() {
    let ingress = Ingress::start(&[]).await;
    let users = users(&ingress, 20).await;
    // More of them than there are transactions at once.
    let (locked, others) = users.split_at(4);
    let mut client = ingress.database.client().await;
    let lock = client.transaction();
    let sql = "select from public.profiles where id = any($1) for update";
    lock.query(sql, &[&locked]).await.unwrap();
    let body = plans();
    let twice = locked.iter().chain(locked);
    let mut waiting = Box::pin(join_all(twice.map(|user| ingress.post("/v1/plans", *user, &body))));
    let meanwhile = async {
        let watcher = ingress.database.client().await;
        let sql = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
        while watcher.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) < 2 {}
        accepted(&ingress, others).await;
    };
    tokio::select! {
        answers = &mut waiting => panic!("a lock was passed over: {answers:?}"),
        () = meanwhile => {}
    }
    lock.rollback().await.unwrap();
    for answer in waiting.await {
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

/// As by one transaction of the app that changes all profiles: there are more locked users
/// than connections, and half of these are left for everything else.
#[tokio::test]
async fn locked_profiles_leave_connections_to_others() {
    for (size, half) in [("4", 2), ("8", 4)] {
        let ingress = Ingress::start(&[("DATABASE_POOL_SIZE", size)]).await;
        let users = users(&ingress, 21).await;
        let (free, locked) = users.split_first().unwrap();
        let body = plans();
        let accepted = ingress.post("/v1/plans", *free, &body).await;
        let job = format!("/v1/jobs/{}", accepted.body["jobs"][0]["id"].as_str().unwrap());
        let mut client = ingress.database.client().await;
        let lock = client.transaction();
        let sql = "select from public.profiles where id = any($1) for update";
        lock.query(sql, &[&locked]).await.unwrap();
        let mut waiting: FuturesUnordered<_> =
            locked.iter().map(|user| ingress.post("/v1/plans", *user, &body)).collect();
        let watcher = ingress.database.client().await;
        let sql = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
        let on_locks = async || watcher.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
        let meanwhile = async {
            while on_locks().await < half {}
            for _ in 0..10 {
                assert_eq!(ingress.get(&job, *free).await.status, 200);
                assert_eq!(ingress.anonymous(Method::GET, "/readyz").answer().await.status, 200);
            }
            assert_eq!(on_locks().await, half);
        };
        tokio::select! {
            answer = waiting.next() => panic!("answered before the others: {answer:?}"),
            () = meanwhile => {}
        }
        lock.rollback().await.unwrap();
        while let Some(answer) = waiting.next().await {
            assert_eq!(answer.status, 202, "{answer:?}");
        }
    }
}

/// Under a code for errors of triggers, of a limit of the server, of a missing privilege, and
/// under one of the application's own.
#[tokio::test]
async fn a_request_that_postgres_refuses_fails_alone() {
    for code in ["P0001", "54000", "42501", "PT402"] {
        let ingress = Ingress::start(&[]).await;
        let users = users(&ingress, 30).await;
        let (refused, others) = users.split_first().unwrap();
        let sql = format!(
            "create function regimen.refuse() returns trigger language plpgsql as
                 $$ begin raise exception 'poison' using errcode = '{code}'; end $$;
             create trigger a_refuse before insert on regimen.jobs for each row
                 when (new.user_id = '{refused}') execute function regimen.refuse()"
        );
        ingress.database.client().await.batch_execute(&sql).await.unwrap();
        let body = plans();
        let (refusal, ()) =
            tokio::join!(ingress.post("/v1/plans", *refused, &body), accepted(&ingress, others));
        assert_eq!((refusal.status.as_u16(), refusal.problem()), (500, "internal"), "{code}");
        let counted = "select count(*) from regimen.generations where user_id = $1";
        assert_eq!(ingress.count(counted, *refused).await, 0);
    }
}

/// What one submission may hold at most, and in one of them a character that Postgres cannot
/// store.
#[tokio::test]
async fn a_nul_among_large_inputs_is_refused_alone() {
    let (database, redis) = (TestDatabase::new().await, TestRedis::new());
    let store = Redis::new(&SecretString::from(redis.url().to_owned()), redis.prefix()).unwrap();
    let submissions = Submissions::new(database.pool().clone(), Queue::new(store));
    let client = database.client().await;
    let users: Vec<Uuid> = (0..24).map(|_| Uuid::now_v7()).collect();
    let sql = "insert into public.profiles (id, email) select unnest($1::uuid[]), 'x'";
    client.execute(sql, &[&users]).await.unwrap();
    let submit = |user: &Uuid| {
        let odd = if *user == users[7] { "\0" } else { "" };
        submissions.accept(NewJobs {
            user_id: *user,
            email: None,
            generation_id: Uuid::now_v7(),
            jobs: vec![NewJob { id: Uuid::now_v7(), kind: PlanKind::Meal }],
            quiz_result_id: None,
            calculations: None,
            input: to_raw_value(&json!({"text": "x".repeat(64 * 1024), "odd": odd})).unwrap(),
            warnings: None,
            cautions: None,
            callback_url: None,
            trace_context: None,
            expires_in_seconds: 900.0,
            per_user: 2,
            monthly_quota: false,
            idempotency: None,
        })
    };
    for (user, outcome) in users.iter().zip(join_all(users.iter().map(submit)).await) {
        match outcome {
            Ok(Acceptance::Accepted { .. }) => assert_ne!(*user, users[7]),
            outcome => {
                assert_eq!(*user, users[7], "{outcome:?}");
                let code = outcome.unwrap_err().code().map(|code| code.code().to_owned());
                assert_eq!(code.as_deref(), Some("22P05"));
            }
        }
    }
    let sql = "select count(*) from regimen.jobs where octet_length(input ->> 'text') = 65536";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 23);
}
