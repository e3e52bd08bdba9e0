//! Postgres answers, but not what was hoped: read-only, no time, no room.

use regimen_common::db::jobs;
use regimen_common::job::JobClass;
use regimen_common::test_support::{PrivatePostgres, PrivateRedis, Proxy};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{assert_passing, gets_a_plan, submit_until_accepted, try_submit, until_ready};
use crate::fleet::{Fleet, soon};

/// What Supabase's pooler says when its sessions are all taken.
const FULL: &str = "MaxClientsInSessionMode: max clients reached - in Session mode max clients are \
                    limited to pool_size";

#[tokio::test]
async fn pools_opened_while_the_server_was_read_only_heal() {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    let admin = fleet.db().await;
    // Sessions keep what they were opened with, as they do on an old primary.
    admin
        .batch_execute("alter database postgres set default_transaction_read_only = on")
        .await
        .unwrap();
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    for _ in 0..3 {
        assert_passing(try_submit(&ingress, Uuid::new_v4()).await).await;
    }
    until_ready(&ingress, false).await;

    let heal = "set default_transaction_read_only = off;
                alter database postgres reset default_transaction_read_only";
    admin.batch_execute(heal).await.unwrap();
    until_ready(&ingress, true).await;
    for _ in 0..3 {
        gets_a_plan(&ingress).await;
    }
    assert_eq!(fleet.plans().await, 3);
    drop(worker);
}

/// Every statement that waits a moment is cut off, by `setting` of the database.
async fn impatient(setting: &str) {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    let mut blocker = fleet.db().await;
    blocker.batch_execute(&format!("alter database postgres set {setting}")).await.unwrap();
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    fleet.simulator.hold("reply", &[]).await;
    let mut jobs = Vec::new();
    for _ in 0..6 {
        let user = Uuid::new_v4();
        jobs.push((user, submit_until_accepted(&ingress, user).await));
    }
    fleet.simulator.wait("open=6").await;
    let blocking = blocker.transaction();
    let lock = "lock table public.ai_meal_plans, regimen.job_attempts in exclusive mode";
    blocking.batch_execute(lock).await.unwrap();
    fleet.simulator.release("reply").await;
    // Cut off again and again, and still kept.
    fleet.until_metric(&worker, "regimen_postgres_retries_total", 30.0).await;
    blocking.rollback().await.unwrap();
    for (user, job) in jobs {
        let view = soon("a plan", ingress.ended(user, job)).await;
        assert_eq!(view["status"], "succeeded", "{view}");
        assert_eq!(fleet.simulator.calls_of(job).await, 1, "{:?}", fleet.history(job).await);
    }
    assert_eq!(fleet.plans().await, 6);
}

#[tokio::test]
async fn paid_replies_survive_a_statement_timeout() {
    impatient("statement_timeout = '300ms'").await;
}

#[tokio::test]
async fn paid_replies_survive_a_lock_timeout() {
    impatient("lock_timeout = '50ms'").await;
}

/// Something that speaks Postgres's protocol just long enough to refuse.
async fn full_pooler() -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(refuse(client));
        }
    };
    (address, AbortOnDropHandle::new(tokio::spawn(serve)))
}

async fn refuse(mut client: TcpStream) -> std::io::Result<()> {
    // The start-up message, whatever it says.
    let length = client.read_u32().await? as usize;
    client.read_exact(&mut vec![0; length - 4]).await?;
    let mut fields = Vec::new();
    for field in ["SFATAL", "VFATAL", "CXX000", &format!("M{FULL}")] {
        fields.extend_from_slice(field.as_bytes());
        fields.push(0);
    }
    fields.push(0);
    client.write_u8(b'E').await?;
    client.write_u32(u32::try_from(fields.len() + 4).unwrap()).await?;
    client.write_all(&fields).await?;
    client.shutdown().await
}

#[tokio::test]
async fn a_full_session_pooler_costs_nothing_but_time() {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let proxy = Proxy::to_url(&postgres.url()).unwrap();
    let (full, _pooler) = full_pooler().await;
    let through = proxy.url(&postgres.url());
    let settings = [("DATABASE_URL", through.as_str()), ("LEASE_SECONDS", "60")];
    let fleet = Fleet::on(&postgres, &redis, &settings).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    let (user, job) = fleet.one_held_job(&ingress).await;

    proxy.retarget(full);
    proxy.cut();
    fleet.simulator.release("reply").await;
    fleet.until_metric(&worker, "regimen_postgres_retries_total", 5.0).await;
    assert_passing(try_submit(&ingress, Uuid::new_v4()).await).await;
    until_ready(&ingress, false).await;

    let url = postgres.url();
    proxy.retarget(url.trim_start_matches("postgres://postgres@").trim_end_matches("/postgres"));
    let view = soon("the plan", ingress.ended_after_faults(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    assert_eq!(fleet.simulator.calls_of(job).await, 1, "{:?}", fleet.history(job).await);
    gets_a_plan(&ingress).await;
}

const REFUSE_PLANS: &str = "
    create function public.refuse() returns trigger language plpgsql as
        'begin raise exception ''no room for plans''; end';
    create trigger refuse before insert or update on public.ai_meal_plans
        for each row execute function public.refuse()";

/// What no patience helps against: the job waits for further rounds, and each
/// goes on from the reply that was paid for.
#[tokio::test]
async fn a_plan_that_postgres_refuses_is_stored_in_a_later_round_without_paying_again() {
    let fleet = Fleet::new(&[("RETRY_ROUNDS_SECONDS", "3600")]).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    fleet.db().await.batch_execute(REFUSE_PLANS).await.unwrap();
    let (user, job) = ingress.submit_one().await;
    soon("the next round", ingress.event(user, job, "retry_scheduled")).await;
    let mend = "drop trigger refuse on public.ai_meal_plans;
                update regimen.jobs set run_at = now()";
    fleet.db().await.batch_execute(mend).await.unwrap();
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    assert_eq!(fleet.simulator.calls_of(job).await, 1, "{:?}", fleet.history(job).await);
    assert_eq!(fleet.plans().await, 1);
}

/// Postgres refused the plan in every round. Somebody mends that, and an
/// operator retries the job.
#[tokio::test]
async fn an_operators_retry_begins_from_the_reply_that_was_paid_for() {
    let fleet = Fleet::new(&[("RETRY_ROUNDS_SECONDS", "0.1")]).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    let mut client = fleet.db().await;
    client.batch_execute(REFUSE_PLANS).await.unwrap();
    let (user, job) = ingress.submit_one().await;
    let view = soon("the end", ingress.ended(user, job)).await;
    assert_eq!((&view["status"], &view["error"]["code"]), (&json!("failed"), &json!("internal")));

    client.batch_execute("drop trigger refuse on public.ai_meal_plans").await.unwrap();
    let retry = Uuid::now_v7();
    let tx = client.transaction();
    jobs::retry(&tx, job, retry, "operator", 900.0, 2).await.unwrap();
    tx.commit().await.unwrap();
    fleet.push(JobClass::Free, &[retry]).await;
    let view = soon("the plan", ingress.ended(user, retry)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    let calls = (fleet.simulator.calls_of(job).await, fleet.simulator.calls_of(retry).await);
    assert_eq!(calls, (1, 0), "{:?}", fleet.history(retry).await);
    assert_eq!(fleet.plans().await, 1);
    for (sql, found) in [
        ("select count(*) from regimen.ai_usage where cost_micros > 0", 1),
        ("select cost_micros from regimen.jobs where state = 'succeeded'", 0),
        ("select count(*) from regimen.plan_origins where provider = 'openai'", 1),
    ] {
        assert_eq!(fleet.count(sql).await, found, "{sql}");
    }
}
