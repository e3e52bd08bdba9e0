//! Jobs of an account that the app deletes: no provider is asked any more, and
//! what runs is stopped.

use regimen_common::job::JobClass;
use serde_json::json;

use crate::fleet::Fleet;

const CANCELLED: &str = "select count(*) from regimen.jobs where state = 'cancelled'";

async fn delete_profiles(fleet: &Fleet) {
    fleet.db().await.batch_execute("delete from public.profiles").await.unwrap();
}

#[tokio::test]
async fn waiting_jobs_are_cancelled_before_any_call() {
    let fleet = Fleet::new(&[]).await;
    let user = fleet.profile().await;
    let jobs = fleet.accept(user, JobClass::Free, 5).await;
    delete_profiles(&fleet).await;
    fleet.push(JobClass::Free, &jobs).await;
    let _worker = fleet.worker().await;
    fleet.until_count(CANCELLED, 5).await;
    for job in jobs {
        assert_eq!(fleet.history(job).await, ["accepted", "cancelled"]);
        assert_eq!(fleet.simulator.calls_of(job).await, 0);
    }
    let open = "select count(*) from regimen.deleted_accounts where jobs_ended_at is null";
    fleet.until_count(open, 0).await;
}

/// A deletion that no trigger saw, as in a restored copy, is found by the claim.
#[tokio::test]
async fn a_claim_passes_over_jobs_without_a_profile() {
    let fleet = Fleet::new(&[]).await;
    let user = fleet.profile().await;
    let jobs = fleet.accept(user, JobClass::Free, 3).await;
    let unseen = "alter table public.profiles disable trigger regimen_note_deleted_accounts";
    fleet.db().await.batch_execute(unseen).await.unwrap();
    delete_profiles(&fleet).await;
    fleet.push(JobClass::Free, &jobs).await;
    let _worker = fleet.worker().await;
    fleet.until_count(CANCELLED, 3).await;
    for job in jobs {
        assert_eq!(fleet.history(job).await, ["accepted", "cancelled"]);
        assert_eq!(fleet.simulator.calls_of(job).await, 0);
    }
}

#[tokio::test]
async fn a_running_job_is_stopped() {
    let fleet = Fleet::new(&[("PROVIDER_FIRST_BYTE_SECONDS", "3600")]).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    fleet.simulator.control(json!({"rules": [{"action": {"do": "hang"}}]})).await;
    let (_, job) = ingress.submit_one().await;
    fleet.simulator.wait("open=1").await;
    delete_profiles(&fleet).await;
    fleet.simulator.wait("aborted=1").await;
    fleet.until_count(CANCELLED, 1).await;
    assert_eq!(fleet.history(job).await.last().unwrap(), "cancelled");
}

/// The account goes between the reply and its save: nobody is left to have the
/// plan, and the job has not failed.
#[tokio::test]
async fn a_plan_whose_reader_is_gone_is_not_saved() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let unseen = "alter table public.profiles disable trigger regimen_note_deleted_accounts";
    fleet.db().await.batch_execute(unseen).await.unwrap();
    let _worker = fleet.worker().await;
    let (_, job) = fleet.one_held_job(&ingress).await;
    delete_profiles(&fleet).await;
    fleet.simulator.release("reply").await;
    fleet.until_count(CANCELLED, 1).await;
    assert_eq!(fleet.history(job).await.last().unwrap(), "cancelled");
    assert_eq!(fleet.plans().await, 0);
    let counted = "select count(*) from regimen.ai_usage where cost_micros > 0";
    assert_eq!(fleet.count(counted).await, 1, "what was paid stays in the ledger");
}

/// What Postgres will not let anybody change holds up nobody else.
#[tokio::test]
async fn a_job_or_an_account_that_cannot_be_worked_off_is_set_aside() {
    let fleet = Fleet::new(&[]).await;
    let (one, two) = (fleet.profile().await, fleet.profile().await);
    let of_one = fleet.accept(one, JobClass::Free, 2).await;
    let of_two = fleet.accept(two, JobClass::Free, 1).await[0];
    let poison = format!(
        "create function regimen.refuse() returns trigger language plpgsql as
             $$ begin raise exception 'poison'; end $$;
         create trigger a_refuse before update on regimen.jobs for each row
             when (new.id = '{}') execute function regimen.refuse();
         create trigger a_refuse before update on regimen.deleted_accounts for each row
             when (new.user_id = '{two}') execute function regimen.refuse()",
        of_one[0]
    );
    fleet.db().await.batch_execute(&poison).await.unwrap();
    delete_profiles(&fleet).await;
    let worker = fleet.worker().await;
    fleet.until_count(CANCELLED, 1).await;
    assert_eq!(fleet.history(of_one[1]).await, ["accepted", "cancelled"]);
    for step in ["cancel_of_deleted", "deleted_accounts"] {
        let quarantine = format!("regimen_rows_set_aside{{step=\"{step}\"}}");
        fleet.until_metric(&worker, &quarantine, 1.0).await;
    }
    assert_eq!(fleet.history(of_two).await, ["accepted"]);
}
