//! A dump taken under load is restored into a new server, beside an empty Redis, as
//! docs/runbook.md describes: nothing that is in the dump is lost, nothing is done or
//! paid for twice, and Stripe's later events are fetched.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use regimen_common::clock::Clock;
use regimen_common::test_support::{PrivatePostgres, PrivateRedis};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::fleet::ingress::{Door, Ingress, body};
use crate::fleet::{Fleet, PATIENCE, job_ids};
use crate::stripe::stripe_api::StripeApi;
use crate::stripe::worker::{event, subscription};

const SECRET: &str = "whsec_restore";

/// Jobs whose replies are stored, while a session waits to save plans in a locked table.
const WAITING_TO_SAVE: &str = "
    select count(*) from regimen.jobs j join regimen.job_attempts a on a.job_id = j.id
    where j.state = 'running' and a.raw_reply is not null and exists (
        select from pg_locks
        where not granted and relation = 'public.ai_meal_plans'::regclass)";

const OPEN: &str = "select id from regimen.jobs where state in ('queued', 'running') order by id";
/// Open jobs with a reply that was paid for.
const PAID: &str = "
    select distinct j.id from regimen.jobs j join regimen.job_attempts a on a.job_id = j.id
    where j.state in ('queued', 'running') and a.raw_reply is not null order by j.id";
/// Jobs that no worker has begun.
const UNBEGUN: &str = "
    select id from regimen.jobs where state = 'queued' and first_claimed_at is null order by id";
const SUCCEEDED: &str = "select id from regimen.jobs where state = 'succeeded' order by id";
/// Everything about ended jobs, and about the money spent for them.
const ENDED: &str = "
    select coalesce(jsonb_agg(jsonb_build_array(to_jsonb(j) - 'kept', (
            select jsonb_agg(to_jsonb(u) order by u.attempt_id) from regimen.ai_usage u
            where u.job_id = j.id)) order by j.id), '[]')::text
    from regimen.jobs j where id = any($1)";
/// Users with more than one plan that the app shows, or with two plans of one job.
const DOUBLED: &str = "
    select count(*) from (select user_id from public.ai_meal_plans where is_active
        group by user_id having count(*) > 1) twice";

/// A submission that was answered with 202.
#[derive(Clone)]
struct Accepted {
    user: Uuid,
    key: String,
    job: Uuid,
}

async fn submit(door: &Door, user: Uuid, key: &str) -> Option<Accepted> {
    let answer = door.post_plans(user, &body(&["meal"]), Some(key)).await.ok()?;
    let status = answer.status();
    let body: Value = answer.json().await.ok()?;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    Some(Accepted { user, key: key.to_owned(), job: job_ids(&body)[0] })
}

/// Submits one request after the other until the ingress is gone.
async fn load(door: Door, accepted: Arc<Mutex<Vec<Accepted>>>) {
    let key = || Uuid::new_v4().to_string();
    while let Some(one) = submit(&door, Uuid::new_v4(), &key()).await {
        accepted.lock().unwrap().push(one);
    }
}

async fn until_accepted(accepted: &Mutex<Vec<Accepted>>, least: usize) {
    let deadline = Instant::now() + PATIENCE;
    while accepted.lock().unwrap().len() < least {
        assert!(Instant::now() < deadline, "fewer than {least} submissions are accepted");
        tokio::task::yield_now().await;
    }
}

/// A paid subscription of a user: its event.
fn purchase(name: &str, user: Uuid) -> Value {
    let now = Clock::system().now().timestamp();
    let mut object = subscription("active", Some(user));
    object["id"] = json!(format!("sub_{name}"));
    object["customer"] = json!(format!("cus_{name}"));
    object["items"]["data"][0]["current_period_end"] = json!(now + 20 * 86_400);
    event(&format!("evt_{name}"), "customer.subscription.created", now, &object)
}

async fn buy(fleet: &Fleet, ingress: &Ingress, stripe: &StripeApi, name: &str, user: Uuid) {
    let event = purchase(name, user);
    stripe.truth.lock().unwrap().events.push(event.clone());
    assert_eq!(ingress.door().deliver(&event, SECRET).await.status(), StatusCode::OK);
    let applied = format!(
        "select count(*) from regimen.stripe_events where id = 'evt_{name}' and state = 'applied'"
    );
    fleet.until_count(&applied, 1).await;
    assert_eq!(fleet.plan_of(user).await, "pro");
}

async fn ended(fleet: &Fleet, jobs: &[Uuid]) -> String {
    fleet.db().await.query_one(ENDED, &[&jobs]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_dump_taken_under_load_is_restored_without_loss_and_nothing_happens_twice() {
    let stripe = StripeApi::start().await;
    let settings = [
        ("STRIPE_WEBHOOK_SECRET", SECRET),
        ("STRIPE_SECRET_KEY", StripeApi::KEY),
        ("STRIPE_BASE_URL", stripe.url.as_str()),
        ("BACKFILL_HOURS", "0"),
        ("FLOOD_PER_SECOND", "0"),
        ("WORKER_SLOTS", "4"),
        // No lease ends while the tables of plans are locked.
        ("LEASE_SECONDS", "15"),
    ];
    let (mut postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let old = Fleet::on(&postgres, &redis, &settings).await;
    let (ingress, mut worker) = (old.ingress().await, old.worker().await);
    let (before, after) = (old.profile().await, old.profile().await);
    buy(&old, &ingress, &stripe, "before", before).await;
    for _ in 0..3 {
        let (user, job) = ingress.submit_one().await;
        assert_eq!(ingress.ended(user, job).await["status"], "succeeded");
    }

    // One call hangs, three replies are stored and wait to be saved, the other jobs queue.
    let once = json!({"name": "first", "times": 1, "action": {"do": "hold"}});
    old.simulator.control(json!({ "rules": [once] })).await;
    let (_, hanging) = ingress.submit_one().await;
    old.simulator.wait("open=1").await;
    let mut session = old.db().await;
    let lock = session.transaction();
    let exclusive = "set local idle_in_transaction_session_timeout = 0;
                     lock table public.ai_meal_plans in exclusive mode";
    lock.batch_execute(exclusive).await.unwrap();
    let accepted = Arc::new(Mutex::new(Vec::new()));
    let loading = tokio::spawn(load(ingress.door(), Arc::clone(&accepted)));
    old.until_count(WAITING_TO_SAVE, 3).await;
    until_accepted(&accepted, 20).await;

    let folder = tempfile::tempdir().unwrap();
    let already = accepted.lock().unwrap().len();
    postgres.dump(folder.path()).await;
    let meanwhile = accepted.lock().unwrap().len() - already;
    assert!(meanwhile > 0, "nobody submitted while the dump was taken");
    buy(&old, &ingress, &stripe, "after", after).await;
    until_accepted(&accepted, already + meanwhile + 5).await;

    // All of it is lost at once.
    drop(lock);
    worker.process.kill9().await;
    drop(ingress);
    loading.await.unwrap();
    postgres.kill9().await;
    let accepted = accepted.lock().unwrap().clone();

    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    postgres.restore(folder.path()).await;
    let new = Fleet::on(&postgres, &redis, &settings).await;
    let (open, paid) = (new.ids(OPEN).await, new.ids(PAID).await);
    let succeeded = new.ids(SUCCEEDED).await;
    let as_dumped = ended(&new, &succeeded).await;
    assert_eq!(succeeded.len(), 3);
    assert!(open.contains(&hanging) && !paid.contains(&hanging), "{hanging}: {open:?} {paid:?}");
    assert!(paid.len() >= 3 && open.len() > paid.len() + 10, "{} {}", open.len(), paid.len());
    assert_eq!(new.plan_of(after).await, "free", "bought after the dump");
    // The dump is old: one job that waited has passed its time meanwhile.
    let late = new.ids(UNBEGUN).await[0];
    let pass = "update regimen.jobs set expires_at = now() - interval '1 hour' where id = $1";
    new.db().await.execute(pass, &[&late]).await.unwrap();

    let (ingress, _one, _other) = tokio::join!(new.ingress(), new.worker(), new.worker());
    new.until_count("select count(*) from regimen.jobs where state in ('queued', 'running')", 0)
        .await;
    let expired = new.ids("select id from regimen.jobs where state = 'expired'").await;
    assert_eq!(expired, [late]);
    let (code, said) = new.command(&["admin", "jobs", "retry", "--state", "expired"]).await;
    assert_eq!(code, Some(0), "{said}");
    let all = succeeded.len() + open.len();
    let plans = "select count(*) from regimen.jobs where state = 'succeeded'";
    new.until_count(plans, all as i64).await;

    // Nothing of the dump is lost or changed.
    assert_eq!(ended(&new, &succeeded).await, as_dumped);
    let plans: BTreeSet<Uuid> = new.ids(SUCCEEDED).await.into_iter().collect();
    let lost: Vec<_> = open.iter().filter(|job| **job != late && !plans.contains(job)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    // Nothing is done or paid for twice.
    assert_eq!(new.plans().await, all as i64);
    assert_eq!(new.count(DOUBLED).await, 0);
    for job in &paid {
        assert_eq!(new.simulator.calls_of(*job).await, 0, "{job} was paid for before the dump");
    }
    let calls = new.simulator.wait("open=0").await["calls"].as_u64().unwrap();
    assert_eq!(calls as usize, open.len() - paid.len(), "one call for each other job");
    let ledger = "select (select sum(cost_micros) from regimen.ai_usage)::bigint
        - (select sum(cost_micros) from regimen.job_attempts)::bigint";
    assert_eq!(new.count(ledger).await, 0);

    // Clients that repeat a request: the job of the dump, or a new one.
    let kept: BTreeSet<Uuid> = open.iter().copied().collect();
    let (known, unknown): (Vec<_>, Vec<_>) =
        accepted.iter().partition(|one| kept.contains(&one.job));
    assert!(!known.is_empty() && unknown.len() >= 5, "{} {}", known.len(), unknown.len());
    let again = submit(&ingress.door(), known[0].user, &known[0].key).await.unwrap();
    assert_eq!(again.job, known[0].job);
    let again = submit(&ingress.door(), unknown[0].user, &unknown[0].key).await.unwrap();
    assert_ne!(again.job, unknown[0].job);
    assert_eq!(ingress.ended(again.user, again.job).await["status"], "succeeded");

    // Stripe's events since the dump are fetched, and those in it are not applied again.
    let attempts = "select attempts::bigint from regimen.stripe_events where id = 'evt_before'";
    let applied = new.count(attempts).await;
    let (code, said) = new.command(&["backfill"]).await;
    assert_eq!(code, Some(0), "{said}");
    let events = "select count(*) from regimen.stripe_events where state = 'applied'";
    new.until_count(events, 2).await;
    assert_eq!(new.plan_of(before).await, "pro");
    assert_eq!(new.plan_of(after).await, "pro");
    assert_eq!(new.count(attempts).await, applied);
}
