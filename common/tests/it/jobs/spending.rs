//! What has been spent, from the ledger and from calls under way.

use chrono::{DateTime, TimeDelta};
use regimen_common::db::jobs::{self, AttemptOutcome, AttemptUsage, Held, NewAttempt, PaidReply};
use regimen_common::db::usage::{MOST_MICROS, MOST_TOKENS, spent_micros};
use regimen_common::db::{generations, spend};
use regimen_common::test_support::TestDatabase;
use uuid::Uuid;

use super::shared::{end, hold, lose_leases, one_job, policy, release};

fn attempt(id: Uuid, most_micros: i64) -> NewAttempt<'static> {
    let (provider, model, prompt_version) = ("openai", "m", "1");
    NewAttempt { id, provider, model, prompt_version, most_micros, warning: None }
}

#[tokio::test]
async fn calls_under_way_count_with_the_most_and_then_with_what_they_cost() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let ids = [one_job(&mut client).await, one_job(&mut client).await];
    let mut users = Vec::new();
    for id in ids {
        users.push(jobs::job(&client, id, None).await.unwrap().unwrap().user_id);
    }
    let long_ago = DateTime::UNIX_EPOCH;
    assert_eq!(spent_micros(&mut client, None, long_ago).await.unwrap(), 0);

    let (known, broken_off) = (Uuid::now_v7(), Uuid::now_v7());
    let held = hold(&client, ids[0], "w").await;
    jobs::start_attempt(&client, held, &attempt(known, 500)).await.unwrap().unwrap();
    jobs::start_attempt(&client, held, &attempt(broken_off, 70)).await.unwrap().unwrap();
    assert_eq!(spent_micros(&mut client, Some(users[0]), long_ago).await.unwrap(), 570);

    let usage = AttemptUsage {
        input_tokens: 9,
        cached_tokens: 0,
        output_tokens: 9,
        cost_micros: 30,
        estimated: true,
    };
    let outcome = AttemptOutcome { outcome: "ok", usage: Some(usage), ..AttemptOutcome::default() };
    jobs::judge_attempt(&client, known, &outcome).await.unwrap();
    assert_eq!(spent_micros(&mut client, Some(users[0]), long_ago).await.unwrap(), 100);

    // In the ledger now, and counted once.
    end(&mut client, held).await;
    assert_eq!(spent_micros(&mut client, None, long_ago).await.unwrap(), 100);
    assert_eq!(jobs::job(&client, ids[0], None).await.unwrap().unwrap().cost_micros, 100);
    // One was never answered, the other's counts cannot be.
    let estimated = "select count(*) from regimen.ai_usage where estimated";
    assert_eq!(client.query_one(estimated, &[]).await.unwrap().get::<_, i64>(0), 2);
    assert_eq!(spent_micros(&mut client, Some(users[1]), long_ago).await.unwrap(), 0);

    let now: DateTime<chrono::Utc> = client.query_one("select now()", &[]).await.unwrap().get(0);
    let later = now + TimeDelta::hours(25);
    assert_eq!(spent_micros(&mut client, None, later).await.unwrap(), 0);
}

/// A worker died with an attempt's real cost unknown; the next one found it out.
#[tokio::test]
async fn a_cost_that_becomes_known_later_is_put_right_in_the_ledger() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let (held, attempt_id) = (hold(&client, id, "w").await, Uuid::now_v7());
    jobs::start_attempt(&client, held, &attempt(attempt_id, 500)).await.unwrap().unwrap();
    let tx = client.transaction();
    let wait = std::time::Duration::ZERO;
    jobs::retry_later(&tx, held, "waiting_retry", wait, "", true, 2).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    assert_eq!(spent_micros(&mut client, None, DateTime::UNIX_EPOCH).await.unwrap(), 500);

    let usage = AttemptUsage { cost_micros: 30, ..AttemptUsage::default() };
    let outcome = AttemptOutcome { outcome: "ok", usage: Some(usage), ..AttemptOutcome::default() };
    jobs::judge_attempt(&client, attempt_id, &outcome).await.unwrap();
    let held = hold(&client, id, "x").await;
    end(&mut client, held).await;
    assert_eq!(spent_micros(&mut client, None, DateTime::UNIX_EPOCH).await.unwrap(), 30);
}

/// The three accounts of a job: its own sum, its attempts' and the ledger's.
async fn accounts(client: &regimen_common::db::Client, id: Uuid) -> [i64; 3] {
    let sql = "select cost_micros,
                   (select coalesce(sum(cost_micros), 0)::bigint from regimen.job_attempts
                    where job_id = $1),
                   (select coalesce(sum(cost_micros), 0)::bigint from regimen.ai_usage
                    where job_id = $1)
               from regimen.jobs where id = $1";
    let row = client.query_one(sql, &[&id]).await.unwrap();
    [row.get(0), row.get(1), row.get(2)]
}

fn costing(cost_micros: i64) -> AttemptOutcome<'static> {
    let usage = AttemptUsage { cost_micros, ..AttemptUsage::default() };
    AttemptOutcome { outcome: "ok", usage: Some(usage), ..AttemptOutcome::default() }
}

/// A holder that comes too late changes no account of a job that has ended.
#[tokio::test]
async fn after_the_end_of_its_job_no_attempt_is_judged() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let (held, attempt_id) = (hold(&client, id, "w").await, Uuid::now_v7());
    jobs::start_attempt(&client, held, &attempt(attempt_id, 500)).await.unwrap().unwrap();
    let tx = client.transaction();
    jobs::cancel(&tx, id, jobs::Canceller::Operator, 2).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!jobs::judge_attempt(&client, attempt_id, &costing(30)).await.unwrap());
    assert_eq!(accounts(&client, id).await, [500; 3]);
}

/// The end of a job waits for a judgement under way, and counts it.
#[tokio::test]
async fn a_judgement_beside_the_end_is_in_all_accounts_or_in_none() {
    let database = TestDatabase::new().await;
    let (mut client, mut other) = tokio::join!(database.client(), database.client());
    let id = one_job(&mut client).await;
    let (held, attempt_id) = (hold(&client, id, "w").await, Uuid::now_v7());
    jobs::start_attempt(&client, held, &attempt(attempt_id, 500)).await.unwrap().unwrap();
    let judging = other.transaction();
    assert!(jobs::judge_attempt(&judging, attempt_id, &costing(30)).await.unwrap());
    let ending = tokio::spawn(async move {
        end(&mut client, held).await;
        client
    });
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    let look = database.client().await;
    while look.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(!ending.is_finished(), "the end did not wait");
    }
    judging.commit().await.unwrap();
    let client = ending.await.unwrap();
    assert_eq!(accounts(&client, id).await, [30; 3]);
}

/// What was spent is known while a job waits again after a drain or the loss
/// of its worker: counters may be filled from the ledger right then.
#[tokio::test]
async fn what_a_returned_job_has_cost_counts_while_it_waits() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let ids = [one_job(&mut client).await, one_job(&mut client).await];
    let mut held = Vec::new();
    for id in ids {
        let claim = hold(&client, id, "w").await;
        jobs::start_attempt(&client, claim, &attempt(Uuid::now_v7(), 500)).await.unwrap().unwrap();
        held.push(claim);
    }
    assert_eq!(release(&mut client, &held[..1]).await.len(), 1);
    let tx = client.transaction();
    assert_eq!(jobs::lose(&tx, &held[1..], "gone", 2).await.unwrap().len(), 1);
    tx.commit().await.unwrap();
    assert_eq!(spent_micros(&mut client, None, DateTime::UNIX_EPOCH).await.unwrap(), 1_000);
}

/// An attempt that went into the ledger at its worst and then turned out to
/// have cost nothing leaves nothing there.
#[tokio::test]
async fn a_cost_that_turns_out_to_be_nothing_is_put_right_too() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let (held, attempt_id) = (hold(&client, id, "w").await, Uuid::now_v7());
    jobs::start_attempt(&client, held, &attempt(attempt_id, 500)).await.unwrap().unwrap();
    release(&mut client, &[held]).await;
    jobs::judge_attempt(&client, attempt_id, &costing(0)).await.unwrap();
    let held = hold(&client, id, "x").await;
    end(&mut client, held).await;
    assert_eq!(accounts(&client, id).await, [0; 3]);
}

/// What a release that believed its providers left behind.
async fn write_absurd_numbers(client: &regimen_common::db::Client, id: Uuid, held: jobs::Held) {
    for _ in 0..2 {
        let attempt_id = Uuid::now_v7();
        jobs::start_attempt(client, held, &attempt(attempt_id, 500)).await.unwrap().unwrap();
    }
    let absurd = "update regimen.job_attempts set cost_micros = 9223372036854775807,
                      input_tokens = 9223372036854775807, output_tokens = 9223372036854775807
                  where job_id = $1";
    assert_eq!(client.execute(absurd, &[&id]).await.unwrap(), 2);
}

/// Numbers beyond belief that are there already stop nothing: neither the end of
/// their own job nor that of another one, and no sum.
#[tokio::test]
async fn absurd_numbers_that_are_there_stop_nobody() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let ids = [one_job(&mut client).await, one_job(&mut client).await];
    let held = hold(&client, ids[0], "w").await;
    write_absurd_numbers(&client, ids[0], held).await;
    hold(&client, ids[1], "w").await;
    let user = jobs::job(&client, ids[0], None).await.unwrap().unwrap().user_id;
    let most = 2 * MOST_MICROS;
    assert_eq!(spent_micros(&mut client, None, DateTime::UNIX_EPOCH).await.unwrap(), most);

    assert_eq!(lose_leases(&mut client).await.len(), 2);
    assert_eq!(jobs::job(&client, ids[0], None).await.unwrap().unwrap().cost_micros, most);
    assert_eq!(spent_micros(&mut client, Some(user), DateTime::UNIX_EPOCH).await.unwrap(), most);
    assert_eq!(spent_micros(&mut client, None, DateTime::UNIX_EPOCH).await.unwrap(), most);

    // In the ledger itself, where the older release put them as they were.
    let absurd = "update regimen.ai_usage set cost_micros = 9223372036854775807,
                      input_tokens = 9223372036854775807, output_tokens = -5";
    assert_eq!(client.execute(absurd, &[]).await.unwrap(), 2);
    assert_eq!(spent_micros(&mut client, None, DateTime::UNIX_EPOCH).await.unwrap(), most);
    assert_eq!(generations::month_cost(&client, user).await.unwrap(), most);
    let (from, to) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::days(50_000));
    let sums = spend::sums(&client, from, to, spend::Grouping::default(), 10).await.unwrap();
    let sum = &sums[0];
    assert_eq!((sum.cost_micros, sum.input_tokens), (most, 2 * MOST_TOKENS));
    assert_eq!((sum.output_tokens, sum.calls), (0, 2));
}

/// What is told now is cut to what is believed before it is written.
#[tokio::test]
async fn absurd_numbers_are_not_written() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let id = one_job(&mut client).await;
    let (held, attempt_id) = (hold(&client, id, "w").await, Uuid::now_v7());
    jobs::start_attempt(&client, held, &attempt(attempt_id, i64::MAX)).await.unwrap().unwrap();
    assert_eq!(accounts(&client, id).await, [0, MOST_MICROS, 0]);
    let usage =
        AttemptUsage { input_tokens: i64::MAX, cost_micros: i64::MAX, ..AttemptUsage::default() };
    let told = AttemptOutcome { outcome: "ok", usage: Some(usage), ..AttemptOutcome::default() };
    assert!(jobs::judge_attempt(&client, attempt_id, &told).await.unwrap());
    end(&mut client, held).await;
    assert_eq!(accounts(&client, id).await, [MOST_MICROS; 3]);
}

/// The day's sum follows the ledger, whoever writes it and however many at once.
#[tokio::test]
async fn the_days_sum_is_the_ledgers() {
    let database = TestDatabase::new().await;
    let insert = "insert into regimen.ai_usage
        select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),
               now() - n * interval '7 hours', 'openai', 'm', 1, 0, 1, n from generate_series(1, 40) n";
    let writers = (0..8).map(|_| async {
        let client = database.client().await;
        client.execute(insert, &[]).await.unwrap();
    });
    futures_util::future::join_all(writers).await;
    let client = database.client().await;
    let corrections =
        "update regimen.ai_usage set cost_micros = cost_micros * 3 where cost_micros > 20;
        update regimen.ai_usage set at = at - interval '1 day' where cost_micros = 5;
        delete from regimen.ai_usage where cost_micros = 7";
    client.batch_execute(corrections).await.unwrap();
    let differing = "select count(*) from (
            select (at at time zone 'UTC')::date as day, sum(cost_micros) as micros
            from regimen.ai_usage group by 1) ledger
        full join (select day, sum(micros) as micros from regimen.spent_days group by 1) kept
            using (day)
        where ledger.micros is distinct from kept.micros and coalesce(kept.micros, -1) <> 0";
    assert_eq!(client.query_one(differing, &[]).await.unwrap().get::<_, i64>(0), 0);
}

/// What was paid for once is not paid again where an operator retries a job,
/// and is counted where it was paid.
#[tokio::test]
async fn an_operators_retry_inherits_a_usable_reply_and_not_its_cost() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    for (judged, code, inherits) in [
        (Some("ok"), "internal", true),
        (None, "internal", true),
        (Some("invalid"), "internal", false),
        (None, "poisoned", false),
    ] {
        let id = one_job(&mut client).await;
        let (held, attempt_id) = (hold(&client, id, "w").await, Uuid::now_v7());
        jobs::start_attempt(&client, held, &attempt(attempt_id, 500)).await.unwrap().unwrap();
        let reply =
            PaidReply { held, attempt_id, raw: "reply", http_status: Some(200), request_id: None };
        jobs::store_reply(&client, &reply).await.unwrap();
        if let Some(outcome) = judged {
            let outcome = AttemptOutcome { outcome, ..costing(30) };
            jobs::judge_attempt(&client, attempt_id, &outcome).await.unwrap();
        }
        end(&mut client, held).await;
        let sql = "update regimen.jobs set error_code = $2 where id = $1";
        client.execute(sql, &[&id, &code]).await.unwrap();
        let before = accounts(&client, id).await;

        let (mut retried, mut retry) = (id, Uuid::now_v7());
        // Retried once more, it is handed on.
        for _ in 0..2 {
            let tx = client.transaction();
            jobs::retry(&tx, retried, retry, "operator", 900.0, 2).await.unwrap();
            tx.commit().await.unwrap();
            let reply = jobs::usable_reply(&client, retry).await.unwrap();
            let found = reply.as_ref().map(|reply| (reply.raw.as_str(), reply.inherited));
            assert_eq!(found, inherits.then_some(("reply", true)), "{judged:?} {code}");
            let claimed = jobs::claim(&client, &[retry], &policy("w")).await.unwrap();
            assert!(!claimed[0].fresh, "the worker looks for it");
            end(&mut client, Held { id: retry, fence: claimed[0].fence }).await;
            assert_eq!(accounts(&client, retry).await, [0; 3]);
            (retried, retry) = (retry, Uuid::now_v7());
        }
        assert_eq!(accounts(&client, id).await, before);
    }
}
