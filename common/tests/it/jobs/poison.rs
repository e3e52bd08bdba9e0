//! A row that cannot be changed stops nothing that is about other rows: for
//! each step that runs again and again, a batch with one such row in it.

use std::time::Duration;

use regimen_common::db::Client;
use regimen_common::db::Outcome;
use regimen_common::db::billing::claims::{self, DueEvents};
use regimen_common::db::billing::notices::{self, DueMails};
use regimen_common::db::billing::repairs::{self, DueUnresolved, LostIds, Poisoned};
use regimen_common::db::callbacks::{self, Due, Room};
use regimen_common::db::jobs::{
    self, DeletedAccounts, LostLeases, LostMessages, OverAnswers, Overdue, ReadyUsers, Turns,
};
use regimen_common::dispatch::Weights;
use regimen_common::job::JobClass;
use regimen_common::test_support::TestDatabase;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::shared::{PER_USER, accept, end, hold, one_job, policy, request};

/// Changes to these rows, and their deletion, fail from now on.
async fn poison(client: &Client, table: &str, key: &str, rows: &[String]) {
    poison_as("P0001", client, table, key, rows).await;
}

/// The same with this SQLSTATE.
async fn poison_as(code: &str, client: &Client, table: &str, key: &str, rows: &[String]) {
    let list = rows.iter().map(|row| format!("'{row}'")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "create function regimen.refuse() returns trigger language plpgsql as
             $$ begin raise exception 'poison' using errcode = '{code}'; end $$;
         create trigger a_refuse before update or delete on {table} for each row
             when (old.{key}::text in ({list})) execute function regimen.refuse()"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// Ten jobs, of users of their own; the fourth is poison.
async fn ten_jobs(client: &mut Client) -> (Vec<Uuid>, Uuid) {
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(one_job(client).await);
    }
    (ids.clone(), ids[3])
}

/// All but the poisoned one are done, and it is named.
fn all_but<K, T>(outcome: &Outcome<K, T>, key: impl Fn(&K) -> Uuid, poison: Uuid) {
    let poisoned: Vec<Uuid> = outcome.poisoned.iter().map(|poisoned| key(&poisoned.key)).collect();
    assert_eq!((outcome.done.len(), poisoned), (9, vec![poison]));
    assert!(outcome.poisoned[0].error.to_string().contains("poison"));
    assert!(outcome.untried.is_empty() && outcome.broken_off.is_none());
}

#[tokio::test]
async fn leases_are_recovered() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (ids, poisoned) = ten_jobs(&mut client).await;
    for id in &ids {
        hold(&client, *id, "w").await;
    }
    let lapse = "update regimen.jobs set lease_expires_at = now() - interval '1 minute'
                     + case id when $1 then interval '0' else interval '1 second' end";
    client.execute(lapse, &[&poisoned]).await.unwrap();
    poison(&client, "regimen.jobs", "id", &[poisoned.to_string()]).await;
    let lost =
        LostLeases { limit: 200, grace: Duration::ZERO, per_user: PER_USER, quarantine: &[] };
    all_but(&jobs::recover_leases(&mut client, &lost).await.unwrap(), |held| held.id, poisoned);

    // It stands at the head of the line, and is left out when asked to.
    let quarantine = [poisoned];
    let head = LostLeases { limit: 1, quarantine: &quarantine, ..lost };
    let outcome = jobs::recover_leases(&mut client, &head).await.unwrap();
    assert!(outcome.done.is_empty() && outcome.poisoned.is_empty());
}

#[tokio::test]
async fn overdue_jobs_expire() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (_, poisoned) = ten_jobs(&mut client).await;
    client.batch_execute("update regimen.jobs set expires_at = now()").await.unwrap();
    poison(&client, "regimen.jobs", "id", &[poisoned.to_string()]).await;
    let overdue = Overdue { limit: 200, per_user: PER_USER, quarantine: &[] };
    all_but(&jobs::expire_overdue(&mut client, &overdue).await.unwrap(), |id| *id, poisoned);
    let quarantine = [poisoned];
    let overdue = Overdue { quarantine: &quarantine, ..overdue };
    assert!(jobs::expire_overdue(&mut client, &overdue).await.unwrap().poisoned.is_empty());
}

/// A code of the application's own blames its row. One that could concern everybody does so
/// only while other rows pass.
#[tokio::test]
async fn a_row_is_set_aside_whatever_its_error_unless_all_have_it() {
    for (code, blames) in [("PT402", true), ("54000", true), ("42501", false), ("55000", false)] {
        let database = TestDatabase::new().await;
        let mut client = database.client().await;
        let (ids, poisoned) = ten_jobs(&mut client).await;
        client.batch_execute("update regimen.jobs set expires_at = now()").await.unwrap();
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        poison_as(code, &client, "regimen.jobs", "id", &[poisoned.to_string()]).await;
        let overdue = Overdue { limit: 200, per_user: PER_USER, quarantine: &[] };
        all_but(&jobs::expire_overdue(&mut client, &overdue).await.unwrap(), |id| *id, poisoned);

        client.batch_execute("drop function regimen.refuse() cascade").await.unwrap();
        let again = "update regimen.jobs set state = 'queued', finished_at = null";
        client.batch_execute(again).await.unwrap();
        poison_as(code, &client, "regimen.jobs", "id", &ids).await;
        match jobs::expire_overdue(&mut client, &overdue).await {
            Ok(outcome) => assert!(blames && outcome.poisoned.len() == 10, "{code}: {outcome:?}"),
            Err(error) => {
                assert_eq!((blames, error.code().map(SqlState::code)), (false, Some(code)));
            }
        }
    }
}

#[tokio::test]
async fn due_jobs_are_dispatched_and_the_walk_goes_on() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (_, poisoned) = ten_jobs(&mut client).await;
    client.batch_execute("update regimen.jobs set dispatched_at = null").await.unwrap();
    poison(&client, "regimen.jobs", "id", &[poisoned.to_string()]).await;
    let users = ReadyUsers { after: None, limit: 10 };
    let page = jobs::dispatch_ready(&mut client, users, PER_USER, &[]).await.unwrap();
    all_but(&page.marked, |id| *id, poisoned);
    assert!(page.last.is_some());
    let page = jobs::dispatch_ready(&mut client, users, PER_USER, &[poisoned]).await.unwrap();
    assert!(page.marked.poisoned.is_empty());
}

#[tokio::test]
async fn lost_messages_are_dispatched_again() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (_, poisoned) = ten_jobs(&mut client).await;
    poison(&client, "regimen.jobs", "id", &[poisoned.to_string()]).await;
    let (class, grace) = (JobClass::Free, Duration::ZERO);
    let lost = LostMessages { class, popped_before: None, grace, limit: 200, quarantine: &[] };
    all_but(&jobs::redispatch_lost(&mut client, &lost).await.unwrap(), |id| *id, poisoned);
    let quarantine = [poisoned];
    let lost = LostMessages { quarantine: &quarantine, ..lost };
    assert_eq!(jobs::redispatch_lost(&mut client, &lost).await.unwrap().done.len(), 9);
}

#[tokio::test]
async fn jobs_are_claimed_with_and_without_redis() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (ids, poisoned) = ten_jobs(&mut client).await;
    poison(&client, "regimen.jobs", "id", &[poisoned.to_string()]).await;
    let claimed = jobs::claim_each(&mut client, &ids[..5], &policy("w")).await.unwrap();
    assert_eq!((claimed.done.len(), claimed.poisoned[0].key), (4, poisoned));
    let (policy, weights) = (policy("w"), Weights { first: 1, second: 1 });
    let turns = Turns { count: 10, weights, turn: 0, policy: &policy, quarantine: &[] };
    let claimed = jobs::claim_waiting(&mut client, &turns).await.unwrap();
    assert_eq!((claimed.done.len(), claimed.poisoned[0].key), (5, poisoned));
}

#[tokio::test]
async fn jobs_are_handed_back_or_given_up() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (ids, poisoned) = ten_jobs(&mut client).await;
    let mut held = Vec::new();
    for id in ids {
        held.push(hold(&client, id, "w").await);
    }
    poison(&client, "regimen.jobs", "id", &[poisoned.to_string()]).await;
    all_but(&jobs::release(&mut client, &held).await.unwrap(), |held| held.id, poisoned);
    let again = held.iter().filter(|held| held.id != poisoned);
    let mut held = vec![held[3]];
    for released in again {
        held.push(hold(&client, released.id, "w").await);
    }
    let lost = jobs::lose_each(&mut client, &held, "no handler", PER_USER).await.unwrap();
    all_but(&lost, |held| held.id, poisoned);
}

/// The end of a job is its own; what comes next may wait for another look.
#[tokio::test]
async fn a_job_ends_though_the_next_one_of_its_user_cannot_be_dispatched() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let new = request(Uuid::now_v7(), 3);
    let (ids, _) = accept(&mut client, &new).await;
    let held = hold(&client, ids[0], "w").await;
    poison(&client, "regimen.jobs", "id", &[ids[2].to_string()]).await;
    assert_eq!(end(&mut client, held).await, [] as [Uuid; 0]);
    let state = super::shared::state(&client, ids[0]).await;
    assert_eq!(state, "failed");
}

#[tokio::test]
async fn deleted_accounts_are_taken() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let sql = "insert into regimen.deleted_accounts (user_id, looked_at)
               select gen_random_uuid(), now() - n * interval '1 minute' from generate_series(1, 10) n";
    client.batch_execute(sql).await.unwrap();
    let sql = "select user_id from regimen.deleted_accounts order by looked_at limit 1";
    let poisoned: Uuid = client.query_one(sql, &[]).await.unwrap().get(0);
    poison(&client, "regimen.deleted_accounts", "user_id", &[poisoned.to_string()]).await;
    let accounts = DeletedAccounts { limit: 50, quarantine: &[] };
    let taken = jobs::deleted_accounts(&mut client, &accounts).await.unwrap();
    all_but(&taken, |user| *user, poisoned);
    // It stands at the head of the line, and is left out when asked to.
    let head = DeletedAccounts { limit: 1, quarantine: &[poisoned] };
    let taken = jobs::deleted_accounts(&mut client, &head).await.unwrap();
    assert_eq!((taken.done.len(), taken.poisoned.len()), (1, 0));
}

#[tokio::test]
async fn jobs_of_a_deleted_account_are_cancelled() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let user = Uuid::now_v7();
    let (ids, _) = accept(&mut client, &request(user, 10)).await;
    let deleted_at = client.query_one("select now()", &[]).await.unwrap().get(0);
    poison(&client, "regimen.jobs", "id", &[ids[0].to_string()]).await;
    let mut cancel = async |quarantine: &[Uuid]| {
        let account = (user, deleted_at);
        jobs::cancel_of_account(&mut client, account, 200, PER_USER, Duration::ZERO, quarantine)
            .await
            .unwrap()
    };
    all_but(&cancel(&[]).await, |id| *id, ids[0]);
    let rest = cancel(&[ids[0]]).await;
    assert!(rest.done.is_empty() && rest.poisoned.is_empty());
}

#[tokio::test]
async fn kept_answers_that_are_over_are_forgotten() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let sql = "insert into regimen.idempotency_keys
                   (user_id, key, body_hash, status, response, created_at, expires_at)
               select gen_random_uuid(), 'key ' || n, '', 202, '{}', now() - interval '1 day',
                      now() + case when n < 10 then interval '-1 second' else interval '1 hour' end
               from generate_series(0, 10) n";
    client.batch_execute(sql).await.unwrap();
    poison(&client, "regimen.idempotency_keys", "key", &["key 3".to_owned()]).await;
    let over = OverAnswers { since: Duration::ZERO, limit: 200, quarantine: &[] };
    let outcome = jobs::forget_answers(&mut client, &over).await.unwrap();
    assert_eq!((outcome.done.len(), outcome.poisoned.len()), (9, 1));
    let quarantine = [outcome.poisoned[0].key.clone()];
    assert!(!quarantine[0].to_string().contains("key 3"), "a client's own words are not logged");
    let over = OverAnswers { since: Duration::ZERO, limit: 200, quarantine: &quarantine };
    let outcome = jobs::forget_answers(&mut client, &over).await.unwrap();
    assert_eq!((outcome.done.len(), outcome.poisoned.len()), (0, 0));
    let left = "select array_agg(key order by key) from regimen.idempotency_keys";
    let left: Vec<String> = client.query_one(left, &[]).await.unwrap().get(0);
    assert_eq!(left, ["key 10", "key 3"]);
}

/// With more rows to blame than a look searches for, the next look goes on.
#[tokio::test]
async fn many_such_rows_are_found_look_by_look() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    for _ in 0..60 {
        one_job(&mut client).await;
    }
    client.batch_execute("update regimen.jobs set expires_at = now()").await.unwrap();
    let rows = client.query("select id::text from regimen.jobs order by id limit 40", &[]).await;
    let poisoned: Vec<String> = rows.unwrap().iter().map(|row| row.get(0)).collect();
    poison(&client, "regimen.jobs", "id", &poisoned).await;
    let (mut quarantine, mut expired, mut looks) = (Vec::new(), 0, 0);
    while expired < 20 {
        let overdue = Overdue { limit: 200, per_user: PER_USER, quarantine: &quarantine };
        let outcome = jobs::expire_overdue(&mut client, &overdue).await.unwrap();
        assert!(outcome.poisoned.len() <= 16);
        expired += outcome.done.len();
        quarantine.extend(outcome.poisoned.iter().map(|poisoned| poisoned.key));
        looks += 1;
        assert!(looks < 10);
    }
    assert_eq!(quarantine.len(), quarantine.iter().collect::<std::collections::HashSet<_>>().len());
}

/// Ten of Stripe's events and of the mails about them; the fourth is poison.
async fn ten_events(client: &Client, state: &str) -> String {
    let sql = format!(
        "insert into regimen.stripe_events (id, type, payload, source, state, settled_at, run_at,
                                            held, lost)
         select 'evt_' || n, 't', '{{}}', 'webhook', '{state}',
                case when '{state}' <> 'received' then now() end,
                now() - interval '1 hour' + n * interval '1 second', '{state}' = 'received', 2
         from generate_series(0, 9) n;
         insert into regimen.billing_notices (event_id, kind, user_id, mail_state, run_at)
         select 'evt_' || n, 'payment_failed', gen_random_uuid(), 'waiting',
                now() - interval '1 hour' + n * interval '1 second'
         from generate_series(0, 9) n"
    );
    client.batch_execute(&sql).await.unwrap();
    "evt_3".to_owned()
}

fn nine_of_ten<T>(outcome: &Outcome<String, T>) {
    let poisoned: Vec<&str> =
        outcome.poisoned.iter().map(|poisoned| poisoned.key.as_str()).collect();
    assert_eq!((outcome.done.len(), poisoned), (9, vec!["evt_3"]));
}

#[tokio::test]
async fn poisoned_events_are_buried_lost_ones_dispatched_and_due_ones_claimed() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let poisoned = ten_events(&client, "received").await;
    poison(&client, "regimen.stripe_events", "id", &[poisoned]).await;
    let lost =
        LostIds { popped_before: None, patience: Duration::ZERO, limit: 99, quarantine: &[] };
    nine_of_ten(&repairs::dispatch_lost(&mut client, &lost).await.unwrap());
    let due = DueEvents { limit: 99, hold: Duration::ZERO, quarantine: &[] };
    nine_of_ten(&claims::claim_due(&mut client, &due).await.unwrap());
    let ids: Vec<String> = (0..10).map(|n| format!("evt_{n}")).collect();
    nine_of_ten(&claims::claim_each(&mut client, &ids, Duration::ZERO).await.unwrap());
    let poisoned = Poisoned { holders: 3, limit: 99, quarantine: &[] };
    nine_of_ten(&repairs::bury_poisoned(&mut client, &poisoned).await.unwrap());
    let quarantine = ["evt_3".to_owned()];
    let rest = Poisoned { quarantine: &quarantine, ..poisoned };
    assert!(repairs::bury_poisoned(&mut client, &rest).await.unwrap().poisoned.is_empty());
}

#[tokio::test]
async fn unresolved_events_wake() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let poisoned = ten_events(&client, "unresolved").await;
    poison(&client, "regimen.stripe_events", "id", &[poisoned]).await;
    let due = DueUnresolved { limit: 99, quarantine: &[] };
    nine_of_ten(&repairs::wake_due(&mut client, &due).await.unwrap());
}

#[tokio::test]
async fn mails_are_dispatched_and_claimed() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let poisoned = ten_events(&client, "received").await;
    poison(&client, "regimen.billing_notices", "event_id", &[poisoned]).await;
    let lost =
        LostIds { popped_before: None, patience: Duration::ZERO, limit: 99, quarantine: &[] };
    nine_of_ten(&repairs::dispatch_lost_mails(&mut client, &lost).await.unwrap());
    let due = DueMails { limit: 99, hold: Duration::ZERO, quarantine: &[] };
    nine_of_ten(&notices::claim_mails(&mut client, None, &due).await.unwrap());
    let ids: Vec<String> = (0..10).map(|n| format!("evt_{n}")).collect();
    nine_of_ten(&notices::claim_mails(&mut client, Some(&ids), &due).await.unwrap());
}

#[tokio::test]
async fn callbacks_are_claimed_though_one_cannot_be_and_another_not_be_read() {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    let (ids, poisoned) = ten_jobs(&mut client).await;
    let sql = "update regimen.jobs set state = 'succeeded', finished_at = now();
        insert into regimen.callbacks (job_id, user_id, url, host)
            select id, user_id, 'https://x', 'x' from regimen.jobs";
    client.batch_execute(sql).await.unwrap();
    let endless = "update regimen.jobs set finished_at = 'infinity' where id = $1";
    client.execute(endless, &[&ids[5]]).await.unwrap();
    poison(&client, "regimen.callbacks", "job_id", &[poisoned.to_string()]).await;
    let room = Room { hosts: vec![("x".into(), 99)], users: Vec::new(), per_user: 99, limit: 99 };
    let due = Due { room: &room, hold: Duration::from_secs(60), quarantine: &[] };
    let outcome = callbacks::claim(&mut client, &due).await.unwrap();
    assert_eq!((outcome.done.len(), outcome.poisoned[0].key), (8, poisoned));
    let quarantine = [poisoned];
    let rest = Due { quarantine: &quarantine, ..due };
    assert!(callbacks::claim(&mut client, &rest).await.unwrap().poisoned.is_empty());
}
