//! A user who is erased, by their own wish, by an operator or because the app
//! deleted them: nothing is asked of a provider any more, and afterwards no row and
//! no key names them.

use regimen_common::job::JobClass;
use regimen_common::redis::keys_of_users;
use regimen_common::test_support::TestDatabase;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::fleet::{Fleet, Ingress, PATIENCE, soon};

const AT_ONCE: (&str, &str) = ("ERASURE_GRACE_SECONDS", "0");

/// Where the id of `user` stands, in whatever column: table and rows.
async fn traces(fleet: &Fleet, user: Uuid) -> Vec<(String, i64)> {
    let client = fleet.db().await;
    let tables = "select format('%I.%I', schemaname, tablename) from pg_tables
                  where schemaname in ('public', 'regimen') order by 1";
    let mut found = Vec::new();
    for table in client.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        let sql = format!("select count(*) from {table} t where t::text like '%' || $1 || '%'");
        let rows: i64 = client.query_one(&sql, &[&user.to_string()]).await.unwrap().get(0);
        if rows > 0 {
            found.push((table, rows));
        }
    }
    found
}

/// Waits until the user's id stands only where it may, and so in Redis. What would be
/// looked at much later, when a month is over or a callback told, is looked at now.
async fn until_erased(fleet: &Fleet, user: Uuid) {
    let month_over = format!(
        "update regimen.generations set at = at - interval '32 days' where user_id = '{user}';
         update regimen.deleted_accounts set erase_at = least(erase_at, now())
         where user_id = '{user}' and erased_at is null
             and (erase_at > now() + interval '2 minutes'
                 or erase_at = (date_trunc('month', now() at time zone 'utc')
                     + interval '1 month') at time zone 'utc')"
    );
    let deadline = Instant::now() + PATIENCE;
    loop {
        fleet.db().await.batch_execute(&month_over).await.unwrap();
        let mut left = traces(fleet, user).await;
        left.retain(|(table, _)| table != "regimen.admin_actions");
        let noted = format!(
            "select count(*) from regimen.deleted_accounts
             where user_id = '{user}' and erased_at is not null"
        );
        let noted = fleet.count(&noted).await;
        if left == [("regimen.deleted_accounts".to_owned(), 1)] && noted == 1 {
            let keys = keys_of_users(&fleet.store(), &[user]).await.unwrap();
            assert_eq!(keys, Vec::<String>::new());
            return;
        }
        assert!(Instant::now() < deadline, "still there: {left:?}");
    }
}

/// A user with something everywhere: a plan and its attempts, a kept answer, spend, a
/// quiz, a notice, a customer with a subscription that has ended, its events.
async fn a_whole_life(fleet: &Fleet, ingress: &Ingress) -> Uuid {
    let user = Uuid::new_v4();
    let body = json!({"kinds": ["meal", "workout"], "answers": crate::fleet::answers()});
    let door = ingress.door();
    let answer = door.post_plans(user, &body, Some("once")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    for job in crate::fleet::job_ids(&answer.json::<Value>().await.unwrap()) {
        assert_eq!(soon("the plan", ingress.ended(user, job)).await["status"], "succeeded");
    }
    let rest = format!(
        "insert into public.quiz_results (user_id, answers)
             values ('{user}', '{{\"foodAllergies\": \"peanuts\"}}');
         insert into public.workout_logs (user_id, workout_type) values ('{user}', 'run');
         insert into regimen.customers (id, linked_user, link_source, linked_at, user_id)
             values ('cus_{user}', '{user}', 'checkout', now(), '{user}');
         update regimen.customers set id = 'cus_' || substr(md5(id), 1, 14);
         insert into regimen.subscriptions (id, customer_id, user_id, status, basis, metadata_user)
             select 'sub_1', id, '{user}', 'canceled', 'checkout', '{user}' from regimen.customers;
         insert into regimen.stripe_events (id, type, payload, source, state, settled_at, run_at,
             customer_id)
             select 'evt_' || n, 't', '{{\"user_id\": \"{user}\"}}', 'webhook',
                 case n when 1 then 'applied' else 'unresolved' end, now(), now() + interval '1 day',
                 c.id
             from regimen.customers c, generate_series(1, 2) n;
         insert into regimen.billing_notices (event_id, kind, user_id, mail_state)
             values ('evt_1', 'payment_failed', '{user}', 'off');
         insert into regimen.open_checkouts (user_id, session_id) values ('{user}', 'cs_1')"
    );
    fleet.db().await.batch_execute(&rest).await.unwrap();
    user
}

/// What is kept without the person, and of whom nothing was asked.
async fn only_sums_are_left(fleet: &Fleet, calls: i64) {
    let nobodys = "select count(*) from regimen.ai_usage
                   where user_id = '00000000-0000-0000-0000-000000000000' and cost_micros > 0";
    assert_eq!(fleet.count(nobodys).await, calls);
    let events = "select count(*) from regimen.stripe_events where payload = '{}'
                      and customer_id is null and state in ('applied', 'ignored')";
    assert_eq!(fleet.count(events).await, 2);
    assert_eq!(fleet.count("select count(*) from regimen.subscriptions").await, 1);
}

async fn delete_account(ingress: &Ingress, user: Uuid) -> (StatusCode, Value) {
    let request = ingress.door().request(Method::DELETE, user, "/v1/account");
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn who_deletes_their_account_is_gone_and_what_waits_is_never_asked_for() {
    let fleet = Fleet::new(&[AT_ONCE]).await;
    let ingress = fleet.ingress().await;
    let mut worker = fleet.worker().await;
    let user = a_whole_life(&fleet, &ingress).await;
    worker.process.kill9().await;
    let waiting = ingress.submit(user, &["meal", "workout"]).await;
    let (status, answer) = delete_account(&ingress, user).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    assert!(answer["gone_by"].as_str() > answer["deleted_at"].as_str(), "{answer}");
    let left = traces(&fleet, user).await;
    assert!(left.iter().all(|(table, _)| !table.starts_with("public.")), "{left:?}");
    let (status, _) = delete_account(&ingress, user).await;
    assert_eq!(status, StatusCode::ACCEPTED, "asking again is safe");

    let _worker = fleet.worker().await;
    until_erased(&fleet, user).await;
    for job in waiting {
        assert_eq!(fleet.simulator.calls_of(job).await, 0);
    }
    only_sums_are_left(&fleet, 2).await;
}

#[tokio::test]
async fn a_running_job_of_a_deleted_account_is_stopped_and_erased() {
    let fleet = Fleet::new(&[AT_ONCE, ("PROVIDER_FIRST_BYTE_SECONDS", "3600")]).await;
    let (ingress, worker) = tokio::join!(fleet.ingress(), fleet.worker());
    fleet.simulator.control(json!({"rules": [{"action": {"do": "hang"}}]})).await;
    let (user, _) = ingress.submit_one().await;
    fleet.simulator.wait("open=1").await;
    assert_eq!(delete_account(&ingress, user).await.0, StatusCode::ACCEPTED);
    fleet.simulator.wait("aborted=1").await;
    until_erased(&fleet, user).await;
    fleet.until_metric(&worker, "regimen_jobs_held", 0.0).await;
    let log = worker.process.output();
    assert!(!log.contains("panicked") && !log.contains(" ERROR "), "{log}");
}

#[tokio::test]
async fn whom_the_app_deletes_is_erased_after_the_grace() {
    let fleet = Fleet::new(&[AT_ONCE]).await;
    let (ingress, _worker) = tokio::join!(fleet.ingress(), fleet.worker());
    let user = a_whole_life(&fleet, &ingress).await;
    let sql = format!("delete from public.profiles where id = '{user}'");
    fleet.db().await.batch_execute(&sql).await.unwrap();
    until_erased(&fleet, user).await;
    only_sums_are_left(&fleet, 2).await;
}

/// Supabase's table of users, which profiles do not follow here.
#[tokio::test]
async fn whom_the_app_deletes_from_its_users_loses_the_profile_too() {
    let database = TestDatabase::empty().await;
    let auth = "create schema auth;
        create table auth.users (id uuid primary key, email text);
        create function auth.uid() returns uuid language sql as 'select null::uuid'";
    database.client().await.batch_execute(auth).await.unwrap();
    regimen_common::db::migrate::migrate(&database.secret_url()).await.unwrap();
    let fleet = Fleet::of(database, &[AT_ONCE]).await;
    let user = fleet.profile().await;
    let jobs = fleet.accept(user, JobClass::Free, 3).await;
    let sql = format!(
        "insert into auth.users values ('{user}', 'ana@example.test');
         delete from auth.users where id = '{user}'"
    );
    fleet.db().await.batch_execute(&sql).await.unwrap();
    let _worker = fleet.worker().await;
    until_erased(&fleet, user).await;
    for job in jobs {
        assert_eq!(fleet.simulator.calls_of(job).await, 0);
    }
}

/// Ended jobs of one user, with an event and an attempt each.
async fn many_jobs(fleet: &Fleet, user: Uuid, count: u32) {
    let sql = format!(
        "with jobs as (
             insert into regimen.jobs (id, user_id, generation_id, kind, class, input, state,
                 run_at, created_at, expires_at, updated_at, finished_at)
             select gen_random_uuid(), '{user}', gen_random_uuid(), 'meal', 'free', '{{}}',
                 'succeeded', now(), now() - n * interval '1 s', now(), now(), now()
             from generate_series(1, {count}) n returning id
         ), events as (
             insert into regimen.job_events (job_id, seq, at, kind)
             select id, 1, now(), 'accepted' from jobs
         )
         insert into regimen.job_attempts (id, job_id, user_id, fence, n, provider, model,
             prompt_version, started_at, raw_reply)
         select gen_random_uuid(), id, '{user}', 1, 1, 'openai', 'm', '1', now(), 'a reply' from jobs"
    );
    fleet.db().await.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn an_erasure_goes_on_where_a_killed_worker_left_it() {
    let fleet = Fleet::new(&[AT_ONCE]).await;
    let user = fleet.profile().await;
    many_jobs(&fleet, user, 6_000).await;
    // The first batches go, and the next one waits for a lock until the worker is dead.
    let mut blocker = fleet.db().await;
    let tx = blocker.transaction();
    let hold = "select id from regimen.jobs where user_id = $1
                order by created_at desc, id desc offset 3000 limit 1 for update";
    tx.query_one(hold, &[&user]).await.unwrap();
    let sql = format!("delete from public.profiles where id = '{user}'");
    fleet.db().await.batch_execute(&sql).await.unwrap();
    let mut worker = fleet.worker().await;
    let jobs = "select count(*) from regimen.jobs";
    fleet.until_count(jobs, 3_000).await;
    worker.process.kill9().await;
    drop(tx);
    drop(blocker);
    let left = fleet.count(jobs).await;
    assert!((1..=3_000).contains(&left), "{left}");
    let unfinished = "select count(*) from regimen.deleted_accounts where erased_at is null";
    assert_eq!(fleet.count(unfinished).await, 1);
    // The minute that the account was taken for is over.
    let over = "update regimen.deleted_accounts set erase_at = now()";
    fleet.db().await.batch_execute(over).await.unwrap();
    let _worker = fleet.worker().await;
    until_erased(&fleet, user).await;
}

#[tokio::test]
async fn a_callback_that_is_owed_outlives_the_rest_and_says_nothing() {
    let fleet = Fleet::new(&[AT_ONCE]).await;
    let user = fleet.profile().await;
    many_jobs(&fleet, user, 2).await;
    let sql = format!(
        "insert into regimen.callbacks (job_id, user_id, url, host, run_at)
             select id, user_id, 'https://example.test', 'example.test', now() + interval '1 day'
             from regimen.jobs limit 1;
         update regimen.jobs set input = '{{\"answers\": 1}}';
         delete from public.profiles where id = '{user}'"
    );
    fleet.db().await.batch_execute(&sql).await.unwrap();
    let _worker = fleet.worker().await;
    let bare = "select count(*) from regimen.jobs where input = '{}' and kept = 0";
    fleet.until_count(bare, 1).await;
    let rest =
        "select (select count(*) from regimen.jobs) + (select count(*) from regimen.job_events)
                    + (select count(*) from regimen.job_attempts)";
    fleet.until_count(rest, 1).await;
    let told = "update regimen.callbacks set state = 'delivered', settled_at = now();
                update regimen.deleted_accounts set erase_at = now()";
    fleet.db().await.batch_execute(told).await.unwrap();
    until_erased(&fleet, user).await;
}

/// Who comes back keeps what is theirs since.
#[tokio::test]
async fn who_comes_back_before_the_erasure_keeps_the_new_life() {
    let fleet = Fleet::new(&[("ERASURE_GRACE_SECONDS", "72000")]).await;
    let (ingress, worker) = tokio::join!(fleet.ingress(), fleet.worker());
    let user = a_whole_life(&fleet, &ingress).await;
    assert_eq!(delete_account(&ingress, user).await.0, StatusCode::ACCEPTED);
    let ended = "select count(*) from regimen.deleted_accounts where jobs_ended_at is not null";
    fleet.until_count(ended, 1).await;
    let job = ingress.submit(user, &["meal"]).await[0];
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    drop(worker);
    let due = "update regimen.deleted_accounts set erase_at = now()";
    fleet.db().await.batch_execute(due).await.unwrap();
    let _worker = fleet.worker().await;
    fleet.until_count("select count(*) from regimen.jobs", 1).await;
    fleet.until_count("select count(*) from regimen.idempotency_keys", 0).await;
    let own = format!("select count(*) from regimen.ai_usage where user_id = '{user}'");
    fleet.until_count(&own, 1).await;
    assert_eq!(ingress.get(user, &format!("/v1/jobs/{job}")).await["status"], "succeeded");
    assert_eq!(fleet.plans().await, 1);
    let linked = "select count(*) from regimen.customers where user_id is not null";
    assert_eq!(fleet.count(linked).await, 1, "their customer is theirs again");
}

/// Two users share a customer of Stripe's: each leaves with their own only.
#[tokio::test]
async fn what_another_user_of_the_customer_has_stays_theirs() {
    for leaves_first in [true, false] {
        let fleet = Fleet::new(&[("ERASURE_GRACE_SECONDS", "0")]).await;
        let (ingress, _worker) = tokio::join!(fleet.ingress(), fleet.worker());
        let (owner, other) = (fleet.profile().await, fleet.profile().await);
        let sql = format!(
            "insert into regimen.customers (id, linked_user, link_source, linked_at, user_id)
                 values ('cus_1', '{owner}', 'checkout', now(), '{owner}');
             insert into regimen.subscriptions
                     (id, customer_id, user_id, metadata_user, status, basis)
                 values ('sub_1', 'cus_1', '{owner}', '{owner}', 'canceled', 'checkout'),
                        ('sub_2', 'cus_1', '{other}', '{other}', 'canceled', 'checkout')"
        );
        fleet.db().await.batch_execute(&sql).await.unwrap();
        let (gone, left) = if leaves_first { (owner, other) } else { (other, owner) };
        assert_eq!(delete_account(&ingress, gone).await.0, StatusCode::ACCEPTED);
        until_erased(&fleet, gone).await;
        let of = |user| {
            format!(
                "select (select count(*) from regimen.customers
                         where '{user}' in (linked_user, user_id))
                     + (select count(*) from regimen.subscriptions
                        where '{user}' in (user_id, metadata_user, checkout_user))"
            )
        };
        assert_eq!(fleet.count(&of(gone)).await, 0);
        assert_eq!(fleet.count(&of(left)).await, if leaves_first { 1 } else { 2 });
    }
}

#[tokio::test]
async fn nobody_who_pays_on_is_deleted_by_mistake() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let user = fleet.profile().await;
    let sql = format!(
        "insert into regimen.customers (id, user_id) values ('cus_1', '{user}');
         insert into regimen.subscriptions (id, customer_id, user_id, status, basis)
             values ('sub_1', 'cus_1', '{user}', 'active', 'checkout')"
    );
    fleet.db().await.batch_execute(&sql).await.unwrap();
    let (status, problem) = delete_account(&ingress, user).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("subscription"), "{problem}");
    let id = user.to_string();
    let (code, said) = fleet.command(&["admin", "erase", &id]).await;
    assert!(code == Some(1) && said.contains("--despite-subscription"), "{said}");
    assert_eq!(fleet.count("select count(*) from public.profiles").await, 1);
    assert_eq!(fleet.count("select count(*) from regimen.deleted_accounts").await, 0);
    let ending = "update regimen.subscriptions set ends_at = now() + interval '9 days'";
    fleet.db().await.batch_execute(ending).await.unwrap();
    assert_eq!(delete_account(&ingress, user).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn an_operator_erases_a_user_at_once_and_is_recorded() {
    // No worker will do it: the command does.
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let mut worker = fleet.worker().await;
    let user = a_whole_life(&fleet, &ingress).await;
    worker.process.kill9().await;
    let waiting = fleet.accept(user, JobClass::Free, 3).await;
    let id = user.to_string();
    let args = ["admin", "erase", &id, "--as", "ana", "--reason", "asked by mail", "--json"];
    let (code, said) = fleet.command(&args).await;
    assert_eq!(code, Some(0), "{said}");
    let answer: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(answer["cancelled"], 3, "{answer}");
    assert_eq!(answer["rows"]["regimen.jobs"], 5, "{answer}");
    assert_eq!(answer["rows"]["public.quiz_results"], Value::Null, "gone with the profile");
    // Only the count of this month's generations is left, and goes with the month.
    assert_eq!(answer["erased"], false, "{answer}");
    let left = traces(&fleet, user).await;
    let tables: Vec<&str> = left.iter().map(|(table, _)| table.as_str()).collect();
    let expected = ["regimen.admin_actions", "regimen.deleted_accounts", "regimen.generations"];
    assert_eq!(tables, expected);
    let record = "select actor, detail ->> 'reason' from regimen.admin_actions
                  where action = 'erase_account' and target = $1 and outcome = 'done'";
    let record = fleet.db().await.query_one(record, &[&id]).await.unwrap();
    assert_eq!((record.get(0), record.get(1)), ("cli:ana", "asked by mail"));
    assert_eq!(waiting.len(), 3);
    assert_eq!(fleet.simulator.calls_of(waiting[0]).await, 0);
    only_sums_are_left(&fleet, 2).await;

    let (code, said) = fleet.command(&args).await;
    assert_eq!(code, Some(0), "again: {said}");
    let (code, said) = fleet.command(&["admin", "erase", "ana"]).await;
    assert!(code == Some(2) && said.contains("USER"), "{said}");
}

/// A table of the app's that keeps the profile where it is.
#[tokio::test]
async fn what_the_app_does_not_let_go_is_named() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let user = fleet.profile().await;
    let sql = format!(
        "create table public.diaries (user_id uuid constraint diary_of references public.profiles);
         insert into public.diaries values ('{user}')"
    );
    fleet.db().await.batch_execute(&sql).await.unwrap();
    let (status, problem) = delete_account(&ingress, user).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    let (code, said) = fleet.command(&["admin", "erase", &user.to_string()]).await;
    assert!(code == Some(1) && said.contains("diary_of"), "{said}");
    assert_eq!(fleet.count("select count(*) from public.profiles").await, 1);
    assert_eq!(fleet.count("select count(*) from regimen.deleted_accounts").await, 0);
}
