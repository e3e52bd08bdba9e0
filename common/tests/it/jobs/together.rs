//! Requests of many users accepted, and jobs of many users ended, in one transaction: each
//! has its own outcome.

use regimen_common::db::jobs::{
    self, Acceptance, AttemptUsage, EndOutcome, Ended, GoodReply, Held, Idempotency, NewAttempt,
    NewJobs, PaidReply, Success, SuccessfulEnd,
};
use regimen_common::db::plans::{NewPlan, PlanColumns};
use regimen_common::db::{Client, DbError};
use regimen_common::job::JobClass;
use regimen_common::test_support::TestDatabase;
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::shared::{PER_USER, accept, hold, release, request, user_of};

async fn together(client: &mut Client, requests: &[NewJobs]) -> Vec<Option<Acceptance>> {
    let requests: Vec<&NewJobs> = requests.iter().collect();
    jobs::accept_together(client, &requests).await.unwrap()
}

fn keyed(user: Uuid, body: &[u8]) -> NewJobs {
    let kept = Idempotency {
        key: "key".to_owned(),
        body_hash: body.to_vec(),
        status: 202,
        response: json!({"of": body}),
    };
    NewJobs { idempotency: Some(kept), ..request(user, 1) }
}

fn dispatched(outcome: Option<&Acceptance>) -> usize {
    match outcome {
        Some(Acceptance::Accepted { dispatch, .. }) => dispatch.len(),
        other => panic!("not accepted: {other:?}"),
    }
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn requests_of_many_users_are_one_transaction() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let mut requests = Vec::new();
    for n in 0..20 {
        let class = if n % 2 == 0 { JobClass::Pro } else { JobClass::Free };
        requests.push(request(user_of(&client, class).await, n % 4 + 1));
    }
    for (n, outcome) in together(&mut client, &requests).await.iter().enumerate() {
        assert_eq!(dispatched(outcome.as_ref()), (n % 4 + 1).min(PER_USER as usize));
        let Some(Acceptance::Accepted { class, dispatch }) = outcome else { unreachable!() };
        assert_eq!(*class == JobClass::Pro, n % 2 == 0);
        assert!(dispatch.iter().all(|next| requests[n].jobs.iter().any(|job| job.id == next.id)));
    }
    assert_eq!(count(&client, "select count(distinct xmin::text) from regimen.jobs").await, 1);
    assert_eq!(count(&client, "select count(*) from regimen.jobs").await, 50);
    assert_eq!(count(&client, "select count(*) from regimen.job_events").await, 50);
    assert_eq!(count(&client, "select count(*) from regimen.generations").await, 20);
}

#[tokio::test]
async fn each_request_is_decided_by_itself() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = async || user_of(&database.client().await, JobClass::Free).await;
    let (replayed, differs, used_up) = (user().await, user().await, user().await);
    for user in [replayed, differs] {
        jobs::accept(&mut client, &keyed(user, b"one")).await.unwrap();
    }
    let one_a_month = "update public.plans set monthly_ai_generations = 1 where id = 'free'";
    client.batch_execute(one_a_month).await.unwrap();
    jobs::accept(&mut client, &request(used_up, 1)).await.unwrap();
    let quiz = Uuid::new_v4();
    let owner = user().await;
    let answers = "insert into public.quiz_results (id, user_id, answers) values ($1, $2, '{}')";
    client.execute(answers, &[&quiz, &owner]).await.unwrap();
    let of_quiz = |user| NewJobs {
        quiz_result_id: Some(quiz),
        calculations: Some(to_raw_value(&json!({"bmr": 1})).unwrap()),
        ..request(user, 1)
    };
    let newcomer = Uuid::now_v7();
    let requests = [
        keyed(replayed, b"one"),
        keyed(differs, b"two"),
        NewJobs { monthly_quota: true, ..request(used_up, 1) },
        of_quiz(owner),
        of_quiz(user().await),
        request(newcomer, 1),
        keyed(user().await, b"new"),
        request(owner, 1),
    ];
    let outcomes = together(&mut client, &requests).await;
    assert!(matches!(&outcomes[0], Some(Acceptance::Replayed(kept)) if kept.jobs.len() == 1));
    assert!(matches!(&outcomes[1], Some(Acceptance::OtherBody)));
    let Some(Acceptance::MonthUsedUp(month)) = &outcomes[2] else { panic!("{:?}", outcomes[2]) };
    assert_eq!((month.allowed, month.used), (1, 1));
    assert_eq!(dispatched(outcomes[3].as_ref()), 1);
    // Another one's quiz, no profile yet, a second one of the same user: alone.
    assert!(outcomes[4].is_none() && outcomes[5].is_none() && outcomes[7].is_none());
    assert_eq!(dispatched(outcomes[6].as_ref()), 1);
    let stored = "select count(*) from public.quiz_results where calculations = '{\"bmr\": 1}'";
    assert_eq!(count(&client, "select count(*) from regimen.jobs").await, 5);
    assert_eq!(count(&client, "select count(*) from regimen.generations").await, 5);
    let kept = "select count(*) from regimen.idempotency_keys k join regimen.jobs j
                on j.id = any(k.job_ids) and j.user_id = k.user_id";
    assert_eq!(count(&client, kept).await, 3);
    let missing = jobs::accept(&mut client, &requests[4]).await.unwrap();
    assert!(matches!(missing, Acceptance::QuizMissing), "{missing:?}");
    assert_eq!(count(&client, stored).await, 1);
    let alone = jobs::accept(&mut client, &requests[5]).await.unwrap();
    assert_eq!(dispatched(Some(&alone)), 1);
}

#[tokio::test]
async fn a_locked_row_holds_up_its_own_request_only() {
    let database = TestDatabase::new().await;
    let (mut client, mut other) = (database.client().await, database.client().await);
    let (locked, free) =
        (user_of(&client, JobClass::Free).await, user_of(&client, JobClass::Free).await);
    let tx = other.transaction();
    let lock = "select from public.profiles where id = $1 for update";
    tx.query(lock, &[&locked]).await.unwrap();
    let outcomes = together(&mut client, &[request(locked, 1), request(free, 1)]).await;
    assert!(outcomes[0].is_none(), "{outcomes:?}");
    assert_eq!(dispatched(outcomes[1].as_ref()), 1);
}

#[tokio::test]
async fn a_refused_row_takes_nothing_with_it() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(request(user_of(&client, JobClass::Free).await, 1));
    }
    // Text in Postgres has no such character.
    requests[1].callback_url = Some("https://example.test/\0".to_owned());
    let asked: Vec<&NewJobs> = requests.iter().collect();
    let refused = jobs::accept_together(&mut client, &asked).await.unwrap_err();
    assert!(refused.blames_a_row(), "{refused}");
    assert_eq!(count(&client, "select count(*) from regimen.jobs").await, 0);
    assert_eq!(count(&client, "select count(*) from regimen.generations").await, 0);
    let alone = jobs::accept(&mut client, &requests[1]).await.unwrap_err();
    assert!(alone.blames_a_row(), "{alone}");
    requests.remove(1);
    let outcomes = together(&mut client, &requests).await;
    assert_eq!(outcomes.iter().map(|outcome| dispatched(outcome.as_ref())).sum::<usize>(), 2);
}

/// A user's job, claimed, with a stored reply that cost something.
struct Paid {
    user: Uuid,
    held: Held,
    success: Success,
}

/// Jobs of `n` users, each with a stored reply.
async fn paid(client: &mut Client, n: usize) -> Vec<Paid> {
    let mut claims = Vec::new();
    for _ in 0..n {
        let user = user_of(client, JobClass::Free).await;
        // The second one waits for its turn.
        let (ids, _) = accept(client, &request(user, PER_USER as usize + 1)).await;
        claims.push((user, hold(client, ids[0], "w").await));
    }
    let attempt = |_| NewAttempt {
        id: Uuid::now_v7(),
        provider: "openai",
        model: "m",
        prompt_version: "7",
        most_micros: 900,
        warning: None,
    };
    let starts: Vec<_> = claims.iter().map(|&(_, held)| (held, attempt(()))).collect();
    let started = jobs::start_attempts(client, &starts).await.unwrap();
    assert!(started.iter().all(|started| *started == Some((1, 3))), "{started:?}");
    let replies: Vec<_> = starts
        .iter()
        .map(|(held, new)| PaidReply {
            held: *held,
            attempt_id: new.id,
            raw: "{\0}",
            http_status: Some(200),
            request_id: None,
        })
        .collect();
    let stored = jobs::store_replies(client, &replies).await.unwrap();
    assert_eq!(stored, vec![Some(4); n]);
    // A reply is kept once.
    assert_eq!(jobs::store_replies(client, &replies).await.unwrap(), vec![None; n]);
    let success = |attempt_id| Success {
        plan_id: Uuid::now_v7(),
        provider: "openai".to_owned(),
        model: "m".to_owned(),
        reply: Some(GoodReply {
            attempt_id,
            http_status: None,
            request_id: Some("req".to_owned()),
            usage: Some(AttemptUsage { cost_micros: 7, output_tokens: 3, ..Default::default() }),
        }),
    };
    let paid = claims.into_iter().zip(&starts);
    paid.map(|((user, held), (_, new))| Paid { user, held, success: success(new.id) }).collect()
}

async fn end_together(client: &mut Client, paid: &[Paid]) -> Vec<Option<EndOutcome>> {
    try_to_end_together(client, paid).await.unwrap()
}

async fn try_to_end_together(
    client: &mut Client,
    paid: &[Paid],
) -> Result<Vec<Option<EndOutcome>>, DbError> {
    let data = to_raw_value(&json!({})).unwrap();
    let columns =
        PlanColumns::Meal { daily_calories: 2_000, preferences: "[]", restrictions: "none" };
    let requested_at = client.query_one("select now()", &[]).await.unwrap().get(0);
    let ends: Vec<_> = paid
        .iter()
        .map(|Paid { user, held, success }| {
            let (user_id, id) = (*user, success.plan_id);
            let plan_data = &*data;
            let plan =
                NewPlan { id, user_id, quiz_result_id: None, requested_at, plan_data, columns };
            SuccessfulEnd { held: *held, success, plan }
        })
        .collect();
    jobs::succeed_together(client, &ends, PER_USER).await
}

/// The statements of the others fail too, because the transaction has failed; that says
/// nothing of why.
#[tokio::test]
async fn the_cause_is_told_when_a_plans_row_is_locked() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let paid = paid(&mut client, 3).await;
    let active = "insert into public.ai_meal_plans (id, user_id, is_active)
                  values (gen_random_uuid(), $1, true)";
    client.execute(active, &[&paid[1].user]).await.unwrap();
    let mut app = database.client().await;
    let lock = app.transaction();
    lock.query("select from public.ai_meal_plans for update", &[]).await.unwrap();
    client.batch_execute("set lock_timeout = '100ms'").await.unwrap();
    let error = try_to_end_together(&mut client, &paid).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE), "{error}");
    lock.rollback().await.unwrap();
    let outcomes = end_together(&mut client, &paid).await;
    let ended = |outcome: &Option<EndOutcome>| matches!(outcome, Some(EndOutcome::Ended(_)));
    assert!(outcomes.iter().all(ended), "{outcomes:?}");
}

/// One of them was taken over meanwhile.
#[tokio::test]
async fn ends_of_one_moment_each_have_their_own_outcome() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let paid = paid(&mut client, 3).await;
    release(&mut client, &[paid[1].held]).await;
    let taken = hold(&client, paid[1].held.id, "other").await;

    let outcomes = end_together(&mut client, &paid).await;
    let ended: Vec<&Ended> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Some(EndOutcome::Ended(ended)) => Some(ended),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes[1], Some(EndOutcome::Stale));
    assert_eq!(ended.iter().map(|ended| ended.seq).collect::<Vec<_>>(), [5, 5]);
    // The turns of both users' next jobs have come.
    assert_eq!(ended.iter().map(|ended| ended.next.len()).sum::<usize>(), 2);
    for (sql, expected) in [
        ("select count(*) from public.ai_meal_plans where is_active", 2),
        ("select count(*) from regimen.jobs where state = 'succeeded' and cost_micros = 7", 2),
        ("select count(*) from regimen.plan_origins where prompt_version = '7'", 2),
        (
            "select count(*) from regimen.job_attempts where outcome = 'ok' and request_id = 'req'",
            2,
        ),
        (
            "select count(*) from regimen.job_attempts where outcome is null and cost_micros = 900",
            1,
        ),
        ("select count(*) from regimen.ai_usage where cost_micros = 7 and not estimated", 2),
        ("select count(distinct xmin::text) from public.ai_meal_plans", 1),
    ] {
        assert_eq!(count(&client, sql).await, expected, "{sql}");
    }
    assert_eq!(jobs::held_by(&client, "other").await.unwrap(), [taken]);
    // Written twice it changes nothing.
    let again = end_together(&mut client, &paid).await;
    assert!(again.iter().all(|outcome| *outcome == Some(EndOutcome::Stale)), "{again:?}");
    assert_eq!(count(&client, "select count(*) from public.ai_meal_plans").await, 2);
}

/// Of the others one has no account any more, and one is locked by the app.
#[tokio::test]
async fn a_profile_that_is_locked_or_gone_holds_up_its_own_job_only() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let paid = paid(&mut client, 3).await;
    let gone = "delete from public.profiles where id = $1";
    client.execute(gone, &[&paid[0].user]).await.unwrap();
    let mut app = database.client().await;
    let lock = app.transaction();
    let locked = "select from public.profiles where id = $1 for update";
    lock.query(locked, &[&paid[1].user]).await.unwrap();

    let outcomes = end_together(&mut client, &paid).await;
    assert_eq!(outcomes[..2], [None, None]);
    assert!(matches!(outcomes[2], Some(EndOutcome::Ended(_))), "{outcomes:?}");
    let ended = "select count(*) from regimen.jobs where state = 'succeeded'";
    assert_eq!(count(&client, ended).await, 1);
    lock.rollback().await.unwrap();
    let outcomes = end_together(&mut client, &paid[..2]).await;
    assert!(matches!(outcomes[..], [None, Some(EndOutcome::Ended(_))]), "{outcomes:?}");
}

/// All are ended, and the next jobs of the others are dispatched.
#[tokio::test]
async fn a_next_job_that_cannot_be_dispatched_holds_up_its_own_user_only() {
    for code in ["P0001", "42501"] {
        let database = TestDatabase::new().await;
        let mut client = database.client().await;
        let paid = paid(&mut client, 3).await;
        let sql = format!(
            "create function regimen.refuse() returns trigger language plpgsql as
                 $$ begin raise exception 'poison' using errcode = '{code}'; end $$;
             create trigger a_refuse before update on regimen.jobs for each row
                 when (old.dispatched_at is null and new.dispatched_at is not null
                       and new.user_id = '{}')
                 execute function regimen.refuse()",
            paid[1].user
        );
        client.batch_execute(&sql).await.unwrap();
        let outcomes = end_together(&mut client, &paid).await;
        let ended = |outcome: &Option<EndOutcome>| matches!(outcome, Some(EndOutcome::Ended(_)));
        assert!(outcomes.iter().all(ended), "{outcomes:?}");
        let next = outcomes.iter().flat_map(|outcome| match outcome {
            Some(EndOutcome::Ended(ended)) => ended.next.clone(),
            _ => Vec::new(),
        });
        assert_eq!(next.count(), 2, "{code}");
        let sql =
            "select user_id from regimen.jobs where state = 'queued' and dispatched_at is null";
        let waiting: Uuid = client.query_one(sql, &[]).await.unwrap().get(0);
        assert_eq!(waiting, paid[1].user);
    }
}
