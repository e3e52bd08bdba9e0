//! The starts, replies and ends of jobs that one worker writes at the same moment: one that
//! Postgres refuses fails alone, and the others are written at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use regimen_common::clock::Clock;
use regimen_common::db::jobs::{
    self, Acceptance, ClaimPolicy, Ended, Held, NewJob, NewJobs, Success,
};
use regimen_common::db::{self, Client, DbError};
use regimen_common::job::{JobEventKind, PlanKind};
use regimen_common::provider::ProviderName;
use regimen_common::test_support::{LIMITS, TestDatabase};
use regimen_worker::llm::RawReply;
use regimen_worker::llm::log::Start;
use regimen_worker::writes::{Beside, Ending, KeptReply, NewCall, Writes};
use serde_json::json;
use serde_json::value::to_raw_value;
use uuid::Uuid;

/// How many write at once, of which the first is refused.
const WRITERS: usize = 12;
/// An application's own.
const CODE: &str = "PT402";

/// A user's running job.
#[derive(Clone, Copy)]
struct Claim {
    user: Uuid,
    held: Held,
}

async fn claims(client: &mut Client) -> Vec<Claim> {
    let mut claims = Vec::new();
    for _ in 0..WRITERS {
        let (user, id) = (Uuid::now_v7(), Uuid::now_v7());
        let new = NewJobs {
            user_id: user,
            email: None,
            generation_id: Uuid::now_v7(),
            jobs: vec![NewJob { id, kind: PlanKind::Meal }],
            quiz_result_id: None,
            calculations: None,
            input: to_raw_value(&json!({})).unwrap(),
            warnings: None,
            cautions: None,
            callback_url: None,
            trace_context: None,
            expires_in_seconds: 900.0,
            per_user: 2,
            monthly_quota: false,
            idempotency: None,
        };
        let accepted = jobs::accept(client, &new).await.unwrap();
        assert!(matches!(accepted, Acceptance::Accepted { .. }), "{accepted:?}");
        let policy = ClaimPolicy {
            worker_id: "w".to_owned(),
            lease: Duration::from_secs(600),
            deadline: Duration::from_secs(180),
            per_user: 2,
        };
        let claimed = jobs::claim(client, &[id], &policy).await.unwrap();
        claims.push(Claim { user, held: Held { id, fence: claimed[0].fence } });
    }
    claims
}

/// From now on a trigger refuses what `event` does to a user's rows.
async fn refuse(client: &Client, event: &str, user: Uuid) {
    let sql = format!(
        "create function public.refuse() returns trigger language plpgsql as
             $$ begin raise exception 'poison' using errcode = '{CODE}'; end $$;
         create trigger a_refuse before {event} for each row
             when (new.user_id = '{user}') execute function public.refuse()"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// The first is refused for itself, and only that one.
fn all_but_the_first<T>(written: Vec<Result<T, DbError>>) -> Vec<T> {
    let mut done = Vec::new();
    for (n, written) in written.into_iter().enumerate() {
        match written {
            Ok(written) => done.push(written),
            Err(error) => {
                assert_eq!((n, error.code().map(|code| code.code())), (0, Some(CODE)), "{error}");
            }
        }
    }
    assert_eq!(done.len(), WRITERS - 1);
    done
}

async fn count(client: &Client, sql: &str) -> usize {
    let counted: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    usize::try_from(counted).unwrap()
}

/// Records a call of each; all at once, so in one transaction where none is refused.
async fn start(
    writes: &Writes,
    claims: &[Claim],
) -> (Vec<Uuid>, Vec<Result<Option<(i32, i32)>, DbError>>) {
    let ids: Vec<Uuid> = claims.iter().map(|_| Uuid::now_v7()).collect();
    let call = |(claim, id): (&Claim, &Uuid)| NewCall {
        held: claim.held,
        id: *id,
        prompt_version: "7",
        start: Start {
            provider: ProviderName::Openai,
            model: "m".to_owned(),
            known: true,
            most_micros: 900,
            warning: None,
        },
    };
    let started = join_all(claims.iter().zip(&ids).map(|of| writes.start(call(of)))).await;
    (ids, started)
}

/// The end of a job with an empty plan.
fn ending(claim: &Claim) -> Arc<Ending> {
    let (provider, model) = ("openai".to_owned(), "m".to_owned());
    Arc::new(Ending {
        held: claim.held,
        success: Success { plan_id: Uuid::now_v7(), provider, model, reply: None },
        user_id: claim.user,
        quiz_result_id: None,
        requested_at: Clock::system().now(),
        plan_data: to_raw_value(&json!({})).unwrap(),
        beside: Beside::Meal {
            daily_calories: 2_000,
            preferences: "[]".to_owned(),
            restrictions: "none".to_owned(),
        },
    })
}

fn is_saved(ended: &Option<Ended>) -> bool {
    ended.as_ref().is_some_and(|ended| ended.kind == JobEventKind::Saved)
}

#[tokio::test]
async fn a_start_that_is_refused_fails_alone() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (writes, claims) = (Writes::new(database.pool(), 2), claims(&mut client).await);
    refuse(&client, "insert on regimen.job_attempts", claims[0].user).await;
    let started = all_but_the_first(start(&writes, &claims).await.1);
    assert_eq!(started, vec![Some((1, 3)); WRITERS - 1]);
    assert_eq!(count(&client, "select count(*) from regimen.job_attempts").await, WRITERS - 1);
}

#[tokio::test]
async fn a_reply_that_is_refused_fails_alone() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (writes, claims) = (Writes::new(database.pool(), 2), claims(&mut client).await);
    let (ids, started) = start(&writes, &claims).await;
    assert!(started.iter().all(|started| matches!(started, Ok(Some((1, 3))))), "{started:?}");
    refuse(&client, "update on regimen.job_attempts", claims[0].user).await;
    let reply = |(claim, id): (&Claim, &Uuid)| {
        let raw = RawReply { status: 200, body: "{}".into(), request_id: None };
        Arc::new(KeptReply { held: claim.held, attempt_id: *id, raw })
    };
    let stored = join_all(claims.iter().zip(&ids).map(|of| writes.reply(reply(of)))).await;
    assert_eq!(all_but_the_first(stored), vec![Some(4); WRITERS - 1]);
    let kept = "select count(*) from regimen.job_attempts where raw_reply = '{}'";
    assert_eq!(count(&client, kept).await, WRITERS - 1);
}

#[tokio::test]
async fn an_end_that_is_refused_fails_alone() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (writes, claims) = (Writes::new(database.pool(), 2), claims(&mut client).await);
    refuse(&client, "insert on public.ai_meal_plans", claims[0].user).await;
    let ended = all_but_the_first(join_all(claims.iter().map(|of| writes.end(ending(of)))).await);
    assert!(ended.iter().all(is_saved), "{ended:?}");
    for sql in [
        "select count(*) from public.ai_meal_plans where is_active",
        "select count(*) from regimen.jobs where state = 'succeeded'",
    ] {
        assert_eq!(count(&client, sql).await, WRITERS - 1, "{sql}");
    }
    let held = jobs::held_by(&client, "w").await.unwrap();
    assert_eq!(held, [claims[0].held]);
}

/// As while the app changes all profiles: half of the connections are left for everything else.
#[tokio::test]
async fn ends_of_locked_users_leave_connections_to_others() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let pool = db::pool_with(&database.secret_url(), 4, "regimen-test", LIMITS).unwrap();
    let (writes, claims) = (Writes::new(&pool, 2), claims(&mut client).await);
    let lock = client.transaction();
    lock.query("select from public.profiles for update", &[]).await.unwrap();
    let mut ends = Box::pin(join_all(claims.iter().map(|of| writes.end(ending(of)))));
    let watcher = database.client().await;
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    let meanwhile = async {
        while count(&watcher, waiting).await < 2 {}
        let others = (pool.get().await.unwrap(), pool.get().await.unwrap());
        assert_eq!(count(&others.0, waiting).await, 2);
    };
    tokio::select! {
        ended = &mut ends => panic!("a lock was passed over: {ended:?}"),
        () = meanwhile => {}
    }
    lock.rollback().await.unwrap();
    let ended = ends.await.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    assert!(ended.iter().all(is_saved), "{ended:?}");
}
