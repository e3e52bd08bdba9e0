//! Processes that are killed without warning: what was accepted is done, once.

use std::time::Duration;

use regimen_common::job::JobClass;
use regimen_common::test_support::{PrivatePostgres, PrivateRedis};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::fleet::ingress::{body, job_ids};
use crate::fleet::{Fleet, Ingress, soon};

/// What the contract promises with the usual lease.
const PROMISE: Duration = Duration::from_secs(15);

/// The first call hangs until its worker is killed; the next is answered.
async fn hang_first_call(fleet: &Fleet) {
    let rule = json!({"nth": 1, "action": {"do": "hang"}});
    fleet.simulator.control(json!({ "rules": [rule] })).await;
}

async fn plan_is_there_once(fleet: &Fleet, ingress: &Ingress, user: Uuid, job: Uuid) {
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!((&view["status"], &view["claims"]), (&json!("succeeded"), &json!(2)), "{view}");
    assert_eq!(fleet.plans().await, 1);
    assert_eq!(fleet.simulator.calls_of(job).await, 2);
    let expected =
        ["accepted", "claimed", "attempt_started", "lease_lost", "claimed", "attempt_started"];
    assert_eq!(fleet.history(job).await[..6], expected);
}

#[tokio::test]
async fn a_killed_workers_job_runs_elsewhere_within_the_promised_time() {
    // With the lease and the pace operators get when they set nothing.
    let fleet = Fleet::new(&[("LEASE_SECONDS", "10"), ("RECONCILE_SECONDS", "1")]).await;
    hang_first_call(&fleet).await;
    let ingress = fleet.ingress().await;
    let mut killed = fleet.worker().await;
    let (user, job) = ingress.submit_one().await;
    fleet.simulator.wait("open=1").await;
    let _other = fleet.worker().await;
    killed.process.kill9().await;
    let killed_at = Instant::now();
    fleet.simulator.wait("calls=2").await;
    let took = killed_at.elapsed();
    assert!(took < PROMISE, "{took:?} from the crash to the next run");
    plan_is_there_once(&fleet, &ingress, user, job).await;
}

/// The heartbeat keeps it, for as long as it takes.
#[tokio::test]
async fn a_job_that_outlasts_its_lease_stays_with_its_holder() {
    // Short, but longer than a busy machine may stop a process for.
    let fleet = Fleet::new(&[("LEASE_SECONDS", "3")]).await;
    let ingress = fleet.ingress().await;
    let _workers = tokio::join!(fleet.worker(), fleet.worker());
    fleet.simulator.hold("reply", &[]).await;
    let (user, job) = ingress.submit_one().await;
    let kept = "select count(*) from regimen.jobs join regimen.worker_leases l using (worker_id)
                where state = 'running' and attempts = 1
                  and l.expires_at > first_claimed_at + interval '10 seconds'";
    fleet.until_count(kept, 1).await;
    fleet.simulator.release("reply").await;
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!((&view["status"], &view["claims"]), (&json!("succeeded"), &json!(1)), "{view}");
    assert_eq!((fleet.plans().await, fleet.simulator.calls_of(job).await), (1, 1));
}

/// A claim in the name of a worker that lives, and that knows nothing of it: its lease alone
/// would keep the job until its deadline.
#[tokio::test]
async fn a_claim_that_no_handler_has_is_given_up() {
    let fleet = Fleet::new(&[("LEASE_SECONDS", "3")]).await;
    let client = fleet.db().await;
    let pause = "insert into regimen.pauses (what, name, paused_by) values ('queue', 'free', 't')";
    client.batch_execute(pause).await.unwrap();
    let _worker = fleet.worker().await;
    fleet.until_count("select count(*) from regimen.workers", 1).await;
    let user = fleet.profile().await;
    let job = fleet.accept(user, JobClass::Free, 1).await[0];
    let claim = "update regimen.jobs set
            state = 'running', fence = nextval('regimen.fence_seq'), dispatched_at = null,
            worker_id = (select worker_id from regimen.workers), first_claimed_at = now(),
            lease_expires_at = now() + interval '1 hour'
        where id = $1";
    assert_eq!(client.execute(claim, &[&job]).await.unwrap(), 1);
    client.batch_execute("delete from regimen.pauses").await.unwrap();
    fleet.until_count("select count(*) from regimen.jobs where state = 'succeeded'", 1).await;
    let lost = "select count(*) from regimen.job_events
                where kind = 'lease_lost' and data ->> 'reason' = 'its worker had no handler for it'";
    assert_eq!((fleet.count(lost).await, fleet.plans().await), (1, 1));
}

#[tokio::test]
async fn a_killed_workers_job_survives_that_redis_forgets_everything() {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    hang_first_call(&fleet).await;
    let ingress = fleet.ingress().await;
    let mut killed = fleet.worker().await;
    let (user, job) = ingress.submit_one().await;
    fleet.simulator.wait("open=1").await;
    let _other = fleet.worker().await;
    killed.process.kill9().await;
    redis.flush_all().await;
    plan_is_there_once(&fleet, &ingress, user, job).await;
}

/// Ids that Redis lost before anybody took them.
#[tokio::test]
async fn jobs_that_wait_survive_that_redis_forgets_everything() {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    let ingress = fleet.ingress().await;
    let mut jobs = Vec::new();
    for _ in 0..20 {
        jobs.push(ingress.submit_one().await);
    }
    redis.flush_all().await;
    let _worker = fleet.worker().await;
    for (user, job) in jobs {
        let view = soon("a plan", ingress.ended(user, job)).await;
        assert_eq!(view["status"], "succeeded", "{view}");
    }
    assert_eq!(fleet.plans().await, 20);
}

#[tokio::test]
async fn whoever_got_a_202_from_an_ingress_that_was_killed_gets_the_plans() {
    let fleet = Fleet::new(&[]).await;
    let mut ingress = fleet.ingress().await;
    let (sender, mut accepted) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..8 {
        let (door, sender) = (ingress.door(), sender.clone());
        tokio::spawn(async move {
            // Until the ingress is gone.
            while let Ok(answer) =
                door.post_plans(Uuid::new_v4(), &body(&["meal", "workout"]), None).await
            {
                assert_eq!(answer.status(), 202);
                let Ok(body) = answer.json::<Value>().await else { return };
                sender.send(job_ids(&body)).unwrap();
            }
        });
    }
    drop(sender);
    let mut jobs: Vec<Uuid> = Vec::new();
    for _ in 0..60 {
        jobs.extend(soon("an answer", accepted.recv()).await.unwrap());
    }
    ingress.binary.process.kill9().await;
    while let Some(more) = soon("the clients' end", accepted.recv()).await {
        jobs.extend(more);
    }

    let client = fleet.db().await;
    let sql = "select count(*) from regimen.jobs where id = any($1)";
    let stored: i64 = client.query_one(sql, &[&jobs]).await.unwrap().get(0);
    assert_eq!(stored, i64::try_from(jobs.len()).unwrap());
    // Of a request either all is there or nothing: both jobs, their first
    // event, the profile.
    let halves = "select count(*) from (
            select j.generation_id from regimen.jobs j
            left join regimen.job_events e on e.job_id = j.id and e.seq = 1 and e.kind = 'accepted'
            left join public.profiles p on p.id = j.user_id
            group by j.generation_id
            having count(*) <> 2 or count(e.job_id) <> 2 or count(p.id) <> 2
        ) halves";
    assert_eq!(fleet.count(halves).await, 0);

    // Some ids never reached Redis; all get their plan all the same.
    let all = fleet.count("select count(*) from regimen.jobs").await;
    let _worker = fleet.worker_with(&[("WORKER_SLOTS", "64")]).await;
    let done = "select count(*) from regimen.jobs where state = 'succeeded'";
    fleet.until_count(done, all).await;
    assert_eq!(fleet.plans().await, all);
}
