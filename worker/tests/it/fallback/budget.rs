//! Budgets over whole jobs: who is over budget waits and says so, and nobody
//! spends what is not there.

use futures_util::future::join_all;
use regimen_common::clock::Clock;
use regimen_common::test_support::Binary;
use serde_json::json;
use uuid::Uuid;

use crate::fleet::{Fleet, soon};

const SPENT: &str = "select coalesce(sum(cost_micros), 0)::bigint from regimen.ai_usage";
const NEVER: &str = "3600";

/// Puts an amount into today's ledger, as if somebody else had spent it.
async fn spend(fleet: &Fleet, micros: i64) {
    let sql = "insert into regimen.ai_usage
               values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), now(), 'openai',
                       'gpt-6-luna', 1, 0, 1, $1)";
    fleet.db().await.execute(sql, &[&micros]).await.unwrap();
}

/// The key of today's counter in Redis.
fn day_key(fleet: &Fleet) -> String {
    let today = Clock::system().now().format("%Y-%m-%d");
    fleet.store().key(&format!("budget:day:{today}"))
}

/// Today's counter in Redis; none while it is not there.
async fn counted(fleet: &Fleet) -> Option<i64> {
    fleet.store().query(redis::cmd("GET").arg(day_key(fleet))).await.unwrap()
}

/// Resolves once nothing is reserved any more: the counter says what the ledger
/// says, or is gone and will be filled from it.
async fn settled(fleet: &Fleet) {
    while let Some(all) = counted(fleet).await {
        if all == fleet.count(SPENT).await {
            return;
        }
    }
}

/// Redis forgets what was spent.
async fn forget(fleet: &Fleet) {
    let store = fleet.store();
    let keys: Vec<String> =
        store.query(redis::cmd("KEYS").arg(store.key("budget:*"))).await.unwrap();
    assert!(!keys.is_empty());
    let _: u64 = store.query(redis::cmd("DEL").arg(keys)).await.unwrap();
}

#[tokio::test]
async fn a_job_over_budget_waits_says_so_and_goes_on_when_there_is_money() {
    let settings = [
        ("BUDGET_DAILY_USD", "1"),
        ("BUDGET_PAUSE_SECONDS", "0.5"),
        ("BUDGET_RECOUNT_SECONDS", "1"),
        ("WORKER_SLOTS", "1"),
    ];
    let fleet = Fleet::new(&settings).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    spend(&fleet, 999_000).await;
    let (user, job) = ingress.submit_one().await;
    let waits = soon("the wait", ingress.event(user, job, "retry_scheduled")).await;
    assert_eq!(waits["data"]["stage"], "budget", "{waits}");
    let reason = waits["data"]["reason"].as_str().unwrap();
    assert!(reason.contains("daily budget") && reason.contains("anew at"), "{waits}");
    fleet.until_metric(&worker, r#"regimen_budget_refusals_total{budget="daily"}"#, 1.0).await;
    let waiting = "select count(*) from regimen.jobs
                   where state = 'queued' and stage = 'budget' and rounds = 0";
    fleet.until_count(waiting, 1).await;
    assert_eq!(fleet.simulator.calls_of(job).await, 0);

    fleet.db().await.batch_execute("delete from regimen.ai_usage").await.unwrap();
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    assert_eq!(fleet.simulator.calls_of(job).await, 1);
}

#[tokio::test]
async fn a_waiting_job_shows_its_stage_in_the_list() {
    let settings = [("BUDGET_USER_MONTHLY_USD", "0"), ("BUDGET_PAUSE_SECONDS", NEVER)];
    let fleet = Fleet::new(&settings).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    let (user, job) = ingress.submit_one().await;
    let waits = soon("the wait", ingress.event(user, job, "retry_scheduled")).await;
    assert!(waits["data"]["reason"].as_str().unwrap().contains("monthly budget"), "{waits}");
    let page = ingress.get(user, "/v1/jobs").await;
    let listed = &page["jobs"][0];
    assert_eq!(
        (&listed["status"], &listed["stage"]),
        (&json!("queued"), &json!("budget")),
        "{page}"
    );
    assert!(listed["next_attempt_at"].is_string(), "{page}");
}

#[tokio::test]
async fn counters_that_redis_forgot_come_back_from_postgres() {
    let fleet = Fleet::new(&[("BUDGET_DAILY_USD", "1")]).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    for _ in 0..2 {
        let (user, job) = ingress.submit_one().await;
        assert_eq!(soon("a plan", ingress.ended(user, job)).await["status"], "succeeded");
        let spent = fleet.count(SPENT).await;
        assert!(spent > 0);
        assert_eq!(counted(&fleet).await, Some(spent));
        forget(&fleet).await;
    }
    // What the ledger has is all that keeps the third from being made.
    spend(&fleet, 999_999).await;
    let (user, job) = ingress.submit_one().await;
    soon("the wait", ingress.event(user, job, "retry_scheduled")).await;
    assert_eq!(fleet.simulator.calls_of(job).await, 0);
}

/// Two workers with 50 slots between them and more jobs than the day's money
/// lasts for: it is used, and never passed. Where Redis was too slow to answer
/// the ledger decided, which calls at the same moment may pass once each.
#[tokio::test]
async fn fifty_calls_at_once_spend_the_budget_and_no_more() {
    const BUDGET: i64 = 150_000;
    let settings = [
        ("BUDGET_DAILY_USD", "0.15"),
        ("BUDGET_PAUSE_SECONDS", NEVER),
        // What a settlement that Redis was too slow for left reserved comes back.
        ("BUDGET_RECOUNT_SECONDS", "5"),
        ("WORKER_SLOTS", "25"),
        ("DATABASE_POOL_SIZE", "16"),
    ];
    let fleet = Fleet::new(&settings).await;
    let ingress = fleet.ingress().await;
    let workers = tokio::join!(fleet.worker(), fleet.worker());
    let usage = json!({"input": 3_000, "output": 8_000, "reasoning": 128});
    let rule = json!({"usage": usage, "action": {"do": "answer"}});
    let latency = json!({"uniform_ms": [50, 300]});
    fleet.simulator.control(json!({"rules": [rule], "latency": latency})).await;
    join_all((0..80).map(|_| ingress.submit_one())).await;
    let under_way = "select count(*) from regimen.jobs
                     where state = 'running' or (state = 'queued' and stage <> 'budget')";
    let done = "select count(*) from regimen.jobs where state = 'succeeded'";
    let mut before = -1;
    loop {
        fleet.until_count(under_way, 0).await;
        // A plan is stored before what its call had reserved is given back.
        soon("the settlement", settled(&fleet)).await;
        let (now, spent) = (fleet.count(done).await, fleet.count(SPENT).await);
        let alone = |worker: &Binary| worker.process.output().contains("by the ledger alone");
        let over = if alone(&workers.0) || alone(&workers.1) { 50 * 8_500 } else { 0 };
        assert!(spent <= BUDGET + over, "{spent} of {BUDGET} and {over}");
        if now == before {
            break;
        }
        before = now;
        // Those refused because of what was only reserved ask again.
        let again = "update regimen.jobs set run_at = now(), stage = 'queued'
                     where state = 'queued'";
        fleet.db().await.batch_execute(again).await.unwrap();
    }
    let most: i64 = fleet.count("select max(cost_micros) from regimen.job_attempts").await;
    let spent = fleet.count(SPENT).await;
    println!("{before} plans for {spent} of {BUDGET} micros; the dearest call {most}");
    assert!(spent > BUDGET * 8 / 10, "{spent} of {BUDGET}: money was left lying");
    assert!(before < 80, "the budget was never in the way");
    assert_eq!(fleet.count("select count(*) from regimen.jobs where state = 'failed'").await, 0);
}

/// Killed after it reserved and before its call stood anywhere: what it took
/// comes back when the counter is next filled from Postgres.
#[tokio::test]
async fn what_a_killed_worker_reserved_comes_back() {
    let settings = [
        // One call fits, at the most it can cost; two do not.
        ("BUDGET_DAILY_USD", "0.013"),
        ("BUDGET_PAUSE_SECONDS", "0.3"),
        ("LEASE_SECONDS", "1"),
    ];
    let fleet = Fleet::new(&settings).await;
    let ingress = fleet.ingress().await;
    let mut killed = fleet.worker().await;
    let mut blocker = fleet.db().await;
    let blocking = blocker.transaction();
    blocking.batch_execute("lock table regimen.job_attempts in exclusive mode").await.unwrap();
    let (user, job) = ingress.submit_one().await;
    let held_up = "select count(*) from pg_locks
                   where not granted and relation = 'regimen.job_attempts'::regclass
                     and mode = 'RowExclusiveLock'
                     and database = (select oid from pg_database where datname = current_database())";
    fleet.until_count(held_up, 1).await;
    killed.process.kill9().await;
    // Its statement must not come through after it.
    let orphan = "select pg_terminate_backend(pid) from pg_locks
                  where not granted and relation = 'regimen.job_attempts'::regclass";
    blocking.batch_execute(orphan).await.unwrap();
    fleet.until_count(held_up, 0).await;
    blocking.rollback().await.unwrap();
    drop(blocker);
    let reserved = counted(&fleet).await.unwrap();
    assert!(reserved > 6_500, "two of {reserved} would fit");
    assert_eq!(fleet.count("select count(*) from regimen.job_attempts").await, 0);

    let _other = fleet.worker().await;
    let waits = soon("the wait", ingress.event(user, job, "retry_scheduled")).await;
    assert_eq!(waits["data"]["stage"], "budget", "{waits}");
    // Ten minutes later, by the counter's own clock.
    let store = fleet.store();
    let left: i64 = store.query(redis::cmd("PTTL").arg(day_key(&fleet))).await.unwrap();
    assert!((1..=600_000).contains(&left), "{left}");
    let _: u64 = store.query(redis::cmd("PEXPIRE").arg(day_key(&fleet)).arg(1)).await.unwrap();
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
}

/// Killed in the middle of its call, which may be billed: that stays counted
/// with the most it can cost, in Redis as in the ledger.
#[tokio::test]
async fn a_call_whose_worker_was_killed_stays_counted_until_the_day_ends() {
    let settings = [("BUDGET_DAILY_USD", "1"), ("LEASE_SECONDS", "1")];
    let fleet = Fleet::new(&settings).await;
    let ingress = fleet.ingress().await;
    let mut killed = fleet.worker().await;
    fleet.simulator.control(json!({"rules": [{"nth": 1, "action": {"do": "hang"}}]})).await;
    let (user, job): (Uuid, Uuid) = ingress.submit_one().await;
    fleet.simulator.wait("open=1").await;
    killed.process.kill9().await;
    let _other = fleet.worker().await;
    assert_eq!(soon("the plan", ingress.ended(user, job)).await["status"], "succeeded");
    let spent = fleet.count(SPENT).await;
    assert_eq!(counted(&fleet).await, Some(spent));
    forget(&fleet).await;
    let (user, job) = ingress.submit_one().await;
    assert_eq!(soon("the plan", ingress.ended(user, job)).await["status"], "succeeded");
    assert_eq!(counted(&fleet).await, Some(fleet.count(SPENT).await));
}
