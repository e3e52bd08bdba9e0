//! Postgres answers nobody for a while: a locked table, sessions gone silent.

use futures_util::future::join_all;
use regimen_common::test_support::{PrivatePostgres, PrivateRedis, Proxy};
use reqwest::StatusCode;
use uuid::Uuid;

use super::{assert_passing, gets_a_plan, submit_until_accepted, try_submit, until_ready};
use crate::fleet::{Fleet, soon};

#[tokio::test]
async fn a_locked_table_is_a_passing_refusal_and_nothing_is_half_done() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    gets_a_plan(&ingress).await;
    let mut blocker = fleet.db().await;
    let blocking = blocker.transaction();
    blocking.batch_execute("lock table regimen.jobs in access exclusive mode").await.unwrap();

    // More than there are connections: nobody waits behind the others either.
    let users: Vec<Uuid> = (0..24).map(|_| Uuid::new_v4()).collect();
    let answers = join_all(users.iter().map(|&user| try_submit(&ingress, user))).await;
    for answer in answers {
        assert_passing(answer).await;
    }
    until_ready(&ingress, false).await;
    // What waits is not known, and that is what is said.
    fleet.until_value(&worker, "regimen_jobs_waiting", f64::is_nan).await;

    blocking.rollback().await.unwrap();
    drop(blocker);
    assert_eq!(fleet.count("select count(*) from regimen.jobs").await, 1);
    assert_eq!(fleet.count("select count(*) from regimen.idempotency_keys").await, 1);
    until_ready(&ingress, true).await;
    fleet.until_value(&worker, "regimen_jobs_waiting", |value| value == 0.0).await;
    let again = join_all(users.iter().map(|&user| submit_until_accepted(&ingress, user))).await;
    for (&user, job) in users.iter().zip(again) {
        let view = soon("a plan", ingress.ended(user, job)).await;
        assert_eq!(view["status"], "succeeded", "{view}");
    }
    assert_eq!(fleet.plans().await, 25);
}

/// As behind a load balancer that forgot its connections: the old ones say
/// nothing any more and are never closed, new ones work.
#[tokio::test]
async fn silent_sessions_are_left_for_new_ones() {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let proxy = Proxy::to_url(&postgres.url()).unwrap();
    let through = proxy.url(&postgres.url());
    let settings = [("DATABASE_URL", through.as_str()), ("LEASE_SECONDS", "10")];
    let fleet = Fleet::on(&postgres, &redis, &settings).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    gets_a_plan(&ingress).await;
    let (user, job) = fleet.one_held_job(&ingress).await;

    proxy.freeze();
    // The reply is there, and has nowhere to go but a new connection.
    fleet.simulator.release("reply").await;
    let stored = "select count(*) from regimen.job_attempts where raw_reply is not null";
    fleet.until_count(stored, 2).await;
    let other = Uuid::new_v4();
    let answer = try_submit(&ingress, other).await;
    if answer.status() != StatusCode::ACCEPTED {
        assert_passing(answer).await;
    }
    let next = submit_until_accepted(&ingress, other).await;
    for (user, job) in [(user, job), (other, next)] {
        let view = soon("a plan", ingress.ended_after_faults(user, job)).await;
        assert_eq!(view["status"], "succeeded", "{view}");
        assert_eq!(fleet.simulator.calls_of(job).await, 1, "{:?}", fleet.history(job).await);
    }
    until_ready(&ingress, true).await;
    fleet.until_value(&worker, "regimen_jobs_waiting", |value| value == 0.0).await;
    assert_eq!(fleet.plans().await, 3);
}

/// Commits of ends wait for this advisory lock.
const HOLD_COMMITS: &str = "
    create function public.hold() returns trigger language plpgsql as
        'begin perform pg_advisory_xact_lock(42); return null; end';
    create constraint trigger hold after update on regimen.jobs deferrable initially deferred
        for each row when (new.state = 'succeeded') execute function public.hold();
    select pg_advisory_lock(42)";

/// The end of a job is committed, and the connections break before its worker hears of it. It
/// is known as written, and the user's next job is pushed; nothing else would push it here.
#[tokio::test]
async fn a_plan_whose_commit_is_not_answered_is_known_as_saved() {
    let settings =
        [("PER_USER_RUNNING", "1"), ("RECONCILE_SECONDS", "60"), ("LEASE_SECONDS", "300")];
    let fleet = Fleet::new(&settings).await;
    let proxy = Proxy::to_url(&fleet.settings()["DATABASE_URL"]).unwrap();
    let ingress = fleet.ingress().await;
    let through = proxy.url(&fleet.settings()["DATABASE_URL"]);
    let worker = fleet.worker_with(&[("DATABASE_URL", &through)]).await;
    let holder = fleet.db().await;
    holder.batch_execute(HOLD_COMMITS).await.unwrap();
    let user = Uuid::new_v4();
    let jobs = ingress.submit(user, &["meal", "workout"]).await;
    let held = "select count(*) from pg_locks where locktype = 'advisory' and objid = 42
                and not granted
                and database = (select oid from pg_database where datname = current_database())";
    fleet.until_count(held, 1).await;
    proxy.freeze();
    holder.batch_execute("select pg_advisory_unlock(42)").await.unwrap();
    fleet.until_count("select count(*) from regimen.jobs where state = 'succeeded'", 1).await;
    proxy.cut_frozen();

    for job in &jobs {
        let view = soon("an end", ingress.ended(user, *job)).await;
        assert_eq!(view["status"], "succeeded", "{view}");
    }
    fleet.until_metric(&worker, "regimen_jobs_finished_total", 1.0).await;
    let metrics = fleet.metrics(&worker).await;
    let refused = |line: &str| line.starts_with("regimen_stale_writes_refused_total ");
    assert!(!metrics.lines().any(|line| refused(line) && !line.ends_with(" 0")), "{metrics}");
    assert!(!worker.process.output().contains("refused a stale write"));
    let again = "select count(*) from regimen.jobs where pushed_at is not null";
    assert_eq!(fleet.count(again).await, 0, "pushed again");
}
