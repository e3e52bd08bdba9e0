//! What the statements read that run again and again or with each request, with
//! 200,000 jobs of 20,000 users waiting and much else beside them: bounded by
//! their shape, whatever the planner believed when it made their plans.
//!
//! Plans are generic, made while the tables held next to nothing, and kept; the
//! statistics are never made anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use regimen_common::billing::entitlement::EntitlementPolicy;
use regimen_common::billing::record::Record;
use regimen_common::billing::state::CustomerState;
use regimen_common::clock::Clock;
use regimen_common::db::Client;
use regimen_common::db::admin_actions::{self, Filter};
use regimen_common::db::billing::claims::{self, ClaimedEvent, DueEvents, Ending, Failure};
use regimen_common::db::billing::events::{EventFilter, EventState};
use regimen_common::db::billing::notices::{self, DueMails, MailOutcome};
use regimen_common::db::billing::payers::{self, SubscriberFilter};
use regimen_common::db::billing::repairs::{self, DueUnresolved, LostIds, Poisoned};
use regimen_common::db::billing::{customers, events, profiles, revenue};
use regimen_common::db::callbacks::{self, CallbackOutcome, Due, Room};
use regimen_common::db::dead::{self, DeadKind};
use regimen_common::db::erasure::{self, JobsAfter, LeftBehind};
use regimen_common::db::export::{self, Rows};
use regimen_common::db::jobs::{
    self, AttemptOutcome, Canceller, DeletedAccounts, Held, ListFilter, NewAttempt, NewJobs,
    OperatorFilter, OverAnswers, PaidReply, Success, SuccessfulEnd,
};
use regimen_common::db::retention::{self, Kept, Place};
use regimen_common::db::workers::{self, SignOfLife};
use regimen_common::db::{
    accounts, generations, models, pauses, plans, spend, stats, test_calls, usage,
};
use regimen_common::dispatch::Weights;
use regimen_common::job::{FailureCode, JobEventKind, JobState, PlanKind};
use regimen_common::test_support::TestDatabase;
use serde_json::Value;
use uuid::Uuid;

use super::shared::{
    PER_USER, buffers, claim_waiting, dispatch_ready, empty_plan, expire_overdue, policy,
    recover_leases, redispatch_lost, release, request,
};

/// Nothing makes the statistics anew by itself.
const NO_STATISTICS: &str = "
    alter table regimen.jobs set (autovacuum_enabled = false);
    alter table regimen.job_attempts set (autovacuum_enabled = false);
    alter table regimen.ai_usage set (autovacuum_enabled = false);
    alter table regimen.spent_days set (autovacuum_enabled = false);
    alter table regimen.callbacks set (autovacuum_enabled = false);
    alter table regimen.stripe_events set (autovacuum_enabled = false);
    alter table regimen.billing_notices set (autovacuum_enabled = false);
    alter table regimen.subscriptions set (autovacuum_enabled = false);
    alter table regimen.idempotency_keys set (autovacuum_enabled = false);
    alter table regimen.deleted_accounts set (autovacuum_enabled = false);
    alter table regimen.job_events set (autovacuum_enabled = false);
    alter table regimen.generations set (autovacuum_enabled = false);
    alter table regimen.plan_origins set (autovacuum_enabled = false);
    alter table regimen.customers set (autovacuum_enabled = false);
    alter table regimen.admin_actions set (autovacuum_enabled = false);
    alter table public.profiles set (autovacuum_enabled = false);
    alter table public.quiz_results set (autovacuum_enabled = false);
    alter table public.ai_meal_plans set (autovacuum_enabled = false);
    alter table public.ai_workout_plans set (autovacuum_enabled = false);
    alter table public.notifications set (autovacuum_enabled = false);
    alter table public.challenge_participants set (autovacuum_enabled = false);
    alter table public.workout_logs set (autovacuum_enabled = false);
    alter table public.daily_nutrition_logs set (autovacuum_enabled = false);
    alter table public.daily_water_intake set (autovacuum_enabled = false);
";

/// The plan of a statement that nobody uses, with its costs: what made it anew
/// made everybody's plans anew.
const CANARY: &str = "explain execute canary ('00000000-0000-0000-0000-000000000000')";

/// Ten waiting jobs a user, all accepted in one minute, of which two have their turn, five are due and three
/// are not; every fiftieth user has none that has its turn. A running job and
/// some history for every tenth; leases end in no order. One user with much
/// history. And of everything else in proportion. No temporary table: the first
/// one of a session makes a schema, and all sessions make their plans anew.
const FILL: &str = "
    set session_replication_role = replica;
    create table public.users as
        select gen_random_uuid() as id, n from generate_series(1, USERS) n;
    insert into regimen.jobs (id, user_id, generation_id, kind, class, input, run_at,
                              dispatched_at, created_at, expires_at, updated_at)
    select (rpad(lpad(to_hex((extract(epoch from now()) * 1000)::bigint - 3600000), 12, '0'), 16, '7')
            || substr(md5(u.id::text || k), 1, 16))::uuid,
           u.id, u.id, 'meal', case n % 10 when 0 then 'pro' else 'free' end,
           '{}', now() - interval '1 hour' + case when k > 7 then interval '1 day' else '0' end,
           case when k <= 2 and n % 50 > 0 and n <> 3 then now() - interval '1 hour' + n * interval '1 ms' end,
           now() - interval '1 hour', now() + interval '1 day', now()
    from users u, generate_series(1, 10) k;
    insert into regimen.jobs (id, user_id, generation_id, kind, class, input, state, worker_id,
                              lease_expires_at, first_claimed_at, run_at, created_at, expires_at,
                              updated_at, fence)
    select gen_random_uuid(), u.id, u.id, 'meal', 'free', '{}', 'running',
           'worker ' || n / 10 % 30, now() + interval '1 hour' * (1 + random()), now(), now(), now(),
           now(), now(), n
    from users u where n % 10 = 1 or n < 4;
    -- Of a hundred users, one has a job of a worker that is gone, and two have one that was
    -- not started in time, in addition to those that wait.
    insert into regimen.jobs (id, user_id, generation_id, kind, class, input, state, worker_id,
                              lease_expires_at, first_claimed_at, run_at, created_at, expires_at,
                              updated_at, fence)
    select gen_random_uuid(), id, id, 'meal', 'free', '{}', 'running',
           'worker ' || 30 + n / 100 % 70, now() + interval '1 hour', now(), now(), now(), now(),
           now(), n
    from users where n % 100 = 2;
    insert into regimen.jobs (id, user_id, generation_id, kind, class, input, run_at, created_at,
                              expires_at, updated_at)
    select gen_random_uuid(), id, id, 'meal', 'free', '{}', now(), now(),
           now() - n % 100 * interval '1 minute', now()
    from users where n % 100 in (1, 50);
    insert into regimen.worker_leases
    select 'worker ' || n, now() + case when n < 30 then interval '1 h' else '-1 min' end
    from generate_series(0, 99) n on conflict do nothing;
    insert into regimen.jobs (id, user_id, generation_id, kind, class, input, state, run_at,
                              created_at, expires_at, updated_at, finished_at)
    select gen_random_uuid(), case when n % 2 = 0 then 'HEAVY' else id end,
           id, 'meal', 'free', '{}', 'succeeded', now(), now() - n * interval '1 s', now(), now(),
           now() - n * interval '1 ms'
    from users u;
    insert into regimen.job_attempts (id, job_id, user_id, fence, n, provider, model,
                                      prompt_version, started_at, cost_micros)
    select gen_random_uuid(), id, user_id, fence, 1, 'openai', 'm', '1', now(), 5
    from regimen.jobs where state = 'running' on conflict do nothing;
    insert into regimen.ai_usage
    select gen_random_uuid(), gen_random_uuid(), id, now(), 'openai', 'm', 1, 0, 1, 5
    from users, generate_series(1, 2);
    insert into regimen.spent_days
    select current_date, k, 5 from generate_series(0, least(USERS, 1023)) k on conflict do nothing;
    insert into regimen.callbacks (job_id, user_id, url, host, run_at)
    select id, user_id, 'https://x', 'host ' || n % 50, now() - n * interval '1 ms'
    from (select *, row_number() over () as n from regimen.jobs where state = 'succeeded') j
    on conflict do nothing;
    insert into regimen.stripe_events (id, type, payload, source, state, settled_at, dispatched_at,
                                       run_at, received_at)
    select 'evt_' || gen_random_uuid(), 't', '{}', 'webhook', state,
           case when state <> 'received' then now() end,
           case when n % 3 > 0 then now() end, now() + case n % 3 when 0 then interval '1 h' else '0' end,
           now() - n * interval '1 s'
    from users, unnest(array['received', 'unresolved', 'dead', 'mismatched']) state;
    insert into regimen.stripe_events (id, type, payload, source, state, held, lost, run_at)
    select 'evt_' || gen_random_uuid(), 't', '{}', 'webhook', 'received', true, 2, now()
    from users where n % 100 = 1;
    insert into regimen.billing_notices (event_id, kind, user_id, mail_state, dispatched_at, run_at)
    select 'evt_' || id, 'payment_failed', id, 'waiting', case when n % 3 > 0 then now() end,
           now() + case when n % 3 = 0 and n % 100 <> 3 then interval '1 hour' else '0' end
    from users;
    insert into public.profiles (id, email, plan_id) select id, 'x', 'pro' from users;
    insert into public.profiles (id, email) values ('LEAVER', 'x') on conflict do nothing;
    -- Of a hundred quizzes, with their plans, one is the user's with much history and one
    -- is a user's who deletes their account.
    insert into public.quiz_results (id, user_id, answers)
    select id, case n % 100 when 1 then 'HEAVY' when 2 then 'LEAVER' else id end, '{}'
    from users;
    insert into public.ai_meal_plans (user_id, quiz_result_id, plan_data, is_active, status)
    select user_id, id, '{}', user_id = id, 'completed' from public.quiz_results;
    insert into public.ai_workout_plans (user_id, quiz_result_id, plan_data, is_active, status,
                                         workout_type, duration_per_session)
    select user_id, quiz_result_id, plan_data, is_active, status, '', ''
    from public.ai_meal_plans;
    insert into public.notifications (recipient_id, sender_id, entity_id)
    select id, case n % 100 when 1 then 'HEAVY' when 2 then 'LEAVER' else id end, id
    from users;
    insert into public.challenge_participants (challenge_id, user_id) select id, id from users;
    insert into public.workout_logs (user_id, workout_type) select id, '' from users;
    insert into public.daily_nutrition_logs (user_id, meal_type) select id, '' from users;
    insert into public.daily_water_intake (user_id) select id from users;
    insert into regimen.subscriptions (id, customer_id, user_id, status, basis, basis_at, seen_due_at)
    select 'sub_' || id, 'cus', id, 'past_due', 'event', now(), now() - interval '1 year' from users;
    insert into regimen.idempotency_keys
    select id, 'key', '', 202, '{}', now(), now() + interval '12 hours' - n % 2 * interval '1 day'
    from users;
    insert into regimen.deleted_accounts (user_id, looked_at, jobs_ended_at, erase_at)
    select gen_random_uuid(), now() - interval '1 hour', case when n % 20 in (0, 3) then null else now() end,
           now() - n * interval '1 ms'
    from users;
    insert into regimen.job_events (job_id, seq, at, kind)
    select id, k, now(), 'claimed' from regimen.jobs, generate_series(1, 3) k
    where state = 'succeeded' on conflict do nothing;
    insert into regimen.job_attempts (id, job_id, user_id, fence, n, provider, model,
                                      prompt_version, started_at, raw_reply)
    select gen_random_uuid(), id, user_id, fence, 1, 'openai', 'm', '1', now(), 'a reply'
    from regimen.jobs where state = 'succeeded' on conflict do nothing;
    -- Their ids begin with their times, as those of the ingress do.
    insert into regimen.generations (id, user_id)
    select (rpad(lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0'), 16, '7')
            || substr(md5(id::text), 1, 16))::uuid, id from users;
    insert into regimen.plan_origins
    select gen_random_uuid(), gen_random_uuid(), id, 'p', 'm', '1', now() from users;
    insert into regimen.customers (id, user_id) select 'cus_' || id, id from users;
    insert into regimen.customers (id, user_id) values ('cus_heavy', 'HEAVY') on conflict do nothing;
    insert into regimen.admin_actions (at, actor, action, target)
    select now() - n * interval '1 ms', 'a', 'b', 'c' from users;
    insert into regimen.stats_minutely
        (minute, accepted, succeeded, failed, expired, cancelled, counted, in_time, wait,
         generation, whole)
    select date_trunc('minute', now()) - n * interval '3 minutes', 1, 1, 0, 0, 0, 1, 1, '{}', '{}',
           '{}'
    from users on conflict do nothing;
    insert into regimen.stats_providers (minute, provider, calls, cost_micros, outcomes, latency)
    select minute, 'openai', 1, 5, '{}', '{}' from regimen.stats_minutely on conflict do nothing;
    drop table public.users;
    set session_replication_role = origin;
";

/// A long history, and nothing that waits or runs: each index of those is empty.
const NIGHT: &str = "
    delete from regimen.jobs where state in ('queued', 'running');
    insert into regimen.jobs (id, user_id, generation_id, kind, class, input, state, run_at,
                              created_at, expires_at, updated_at, finished_at)
    select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'meal', 'free', '{}',
           'succeeded', now(), now() - n * interval '1 s', now(), now(), now() - n * interval '1 s'
    from generate_series(1, 20000) n";

const HEAVY: Uuid = Uuid::from_u128(0xcafe);
const LEAVER: Uuid = Uuid::from_u128(0xdead);
const NOBODYS: Held = Held { id: Uuid::nil(), fence: 0 };

/// The processor time of PostgreSQL for a look that touches so many buffers, at most: the
/// shortest of up to three times. What passes on a clock depends on what else runs.
fn longest(touched: i64) -> Duration {
    Duration::from_millis(100 + u64::try_from(touched).unwrap_or_default() / 100)
}

/// What it was, the buffers it touched and may touch, and its processor time.
type Look = (&'static str, i64, i64, Duration);

/// What each look touched.
struct Looks<'a> {
    client: &'a mut Client,
    server: i32,
    before: i64,
    busy: Duration,
    lost_and_overdue: (usize, usize),
    found: Vec<Look>,
}

/// The processor time of a process so far (Linux, /proc/PID/schedstat, nanoseconds); elsewhere
/// none, so that only buffers are judged.
fn busy(pid: i32) -> Duration {
    let told = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let nanos = told.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

impl Looks<'_> {
    /// Ends a look that may touch `most` buffers.
    async fn end(&mut self, what: &'static str, most: i64) {
        let took = busy(self.server) - self.busy;
        let now = buffers(self.client).await;
        self.found.push((what, now - self.before, most, took));
        self.skip().await;
    }

    /// What the test itself read since the last look is no look.
    async fn skip(&mut self) {
        self.before = buffers(self.client).await;
        self.busy = busy(self.server);
    }
}

/// Everything that runs again and again, once.
async fn look_at_everything(client: &mut Client) -> (Vec<Look>, (usize, usize)) {
    let some = "select array(select id from regimen.jobs where state = 'queued'
                             and dispatched_at is not null limit 2),
                       array(select id from regimen.jobs where state = 'running' and worker_id < 'worker 3'
                             order by id),
                       array(select fence from regimen.jobs where state = 'running'
                             and worker_id < 'worker 3' order by id),
                       array(select id from regimen.stripe_events where state = 'received' and not held
                             and run_at <= now() limit 5),
                       -- All their jobs wait, and the walk over 1,000 users does not come so far.
                       array(select user_id from regimen.jobs where state = 'queued'
                             group by 1 having count(dispatched_at) = 0 and min(expires_at) > now()
                             order by 1 desc limit 1)";
    let some = client.query_one(some, &[]).await.unwrap();
    let ids: Vec<Uuid> = some.get(0);
    let held: Vec<Held> = some
        .get::<_, Vec<Uuid>>(1)
        .into_iter()
        .zip(some.get::<_, Vec<i64>>(2))
        .map(|(id, fence)| Held { id, fence })
        .collect();
    let event_ids: Vec<String> = some.get(3);
    let waiting: Vec<Uuid> = some.get(4);
    let server = client.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let before = buffers(client).await;
    let (busy, found) = (busy(server), Vec::new());
    let mut looks = Looks { client, server, before, busy, lost_and_overdue: (0, 0), found };

    let lost = recover_leases(looks.client, 200).await.len();
    looks.end("recover leases, 200 lost, of seventy workers that are gone", 30_000).await;
    recover_leases(looks.client, 200).await;
    looks
        .end("recover leases, none lost but 200 just now, of seventy workers that are gone", 700)
        .await;
    let overdue = expire_overdue(looks.client, 200).await.len();
    looks.end("expire overdue, 200 jobs", 30_000).await;
    looks.lost_and_overdue = (lost, overdue);
    dispatch_ready(looks.client, None, 1_000).await;
    looks.end("dispatch ready, 1,000 users", 13_000).await;
    redispatch_lost(looks.client, None, Duration::from_secs(1), 200).await;
    looks.end("redispatch lost, 200 jobs", 11_000).await;
    redispatch_lost(looks.client, None, Duration::from_secs(86_400), 200).await;
    looks.end("redispatch lost, none", 20).await;
    let accounts = DeletedAccounts { limit: 50, quarantine: &[] };
    jobs::deleted_accounts(looks.client, &accounts).await.unwrap();
    looks.end("fifty deleted accounts", 1_400).await;
    let now = looks.client.query_one("select now()", &[]).await.unwrap().get(0);
    for account in [HEAVY, Uuid::nil()] {
        let (account, grace) = ((account, now), Duration::from_secs(60));
        jobs::cancel_of_account(looks.client, account, 200, PER_USER, grace, &[]).await.unwrap();
        looks.end("open jobs of a deleted account", 1_500).await;
    }
    jobs::forget_answers(
        looks.client,
        &OverAnswers { since: Duration::ZERO, limit: 200, quarantine: &[] },
    )
    .await
    .unwrap();
    looks.end("forget 200 kept answers", 2_500).await;
    jobs::queue_health(looks.client).await.unwrap();
    // Entries of what was claimed a moment ago are passed over, until they are cleared away.
    looks.end("queue health", 800).await;
    jobs::backlog(looks.client, Duration::from_secs(60)).await.unwrap();
    looks.end("backlog, the pace of 2,000 ends", 500).await;
    jobs::lines(looks.client, 10_000, Duration::from_secs(60)).await.unwrap();
    looks.end("lines, 10,000 places", 6_500).await;
    jobs::dispatch_next(looks.client, &[HEAVY], PER_USER).await.unwrap();
    looks.end("dispatch next, none", 30).await;
    jobs::dispatch_next(looks.client, &waiting, PER_USER).await.unwrap();
    looks.end("dispatch next, two", 100).await;
    jobs::claim(looks.client, &ids, &policy("w")).await.unwrap();
    looks.end("claim two", 170).await;
    claim_waiting(looks.client, 64, Weights { first: 4, second: 1 }).await;
    looks.end("claim 64 directly", 5_000).await;
    jobs::extend_lease(looks.client, "worker 3", Duration::from_secs(600)).await.unwrap();
    looks.end("extend the lease of 67 jobs", 120).await;
    let holds = |at: usize| held.get(at).copied().unwrap_or(NOBODYS);
    calls(&mut looks, &[holds(0), holds(1)]).await;
    release(looks.client, &[holds(2), holds(3)]).await;
    looks.end("hand two back", 200).await;
    ends(&mut looks, held.get(4..).unwrap_or_default()).await;
    jobs::held_by(looks.client, "nobody").await.unwrap();
    looks.end("what a worker holds", 20).await;
    let today = looks.client.query_one("select now()", &[]).await.unwrap().get(0);
    usage::spent_micros(looks.client, None, today).await.unwrap();
    looks.end("spent by all in a day, 2,000 calls under way", 14_000).await;
    usage::spent_micros(looks.client, Some(HEAVY), today).await.unwrap();
    looks.end("spent by a user", 20).await;

    let poisoned = Poisoned { holders: 3, limit: 500, quarantine: &[] };
    repairs::bury_poisoned(looks.client, &poisoned).await.unwrap();
    looks.end("bury 200 poisoned events", 7_000).await;
    let unresolved = DueUnresolved { limit: 500, quarantine: &[] };
    repairs::wake_due(looks.client, &unresolved).await.unwrap();
    looks.end("wake 500 unresolved events", 18_000).await;
    profiles::grace_over(looks.client, None, 60.0, 500).await.unwrap();
    looks.end("grace of 500 users", 6_000).await;
    let patience = Duration::from_secs(3_600);
    let lost = LostIds { popped_before: None, patience, limit: 500, quarantine: &[] };
    repairs::dispatch_lost(looks.client, &lost).await.unwrap();
    repairs::dispatch_lost_mails(looks.client, &lost).await.unwrap();
    looks.end("lost events and mails, those just woken", 25_000).await;
    events::lag(looks.client).await.unwrap();
    looks.end("lag of events", 2_500).await;
    events::attention(looks.client).await.unwrap();
    looks.end("events needing attention", 1_100).await;
    let hold = Duration::from_secs(60);
    let events = claims::claim(looks.client, &event_ids, hold).await.unwrap();
    looks.end("claim five events", 190).await;
    stripe(&mut looks, &events).await;
    claims::claim_due(looks.client, &DueEvents { limit: 5, hold, quarantine: &[] }).await.unwrap();
    looks.end("claim five due events", 250).await;
    let mails = DueMails { limit: 5, hold, quarantine: &[] };
    notices::claim_mails(looks.client, Some(&event_ids), &mails).await.unwrap();
    let mails = notices::claim_mails(looks.client, None, &mails).await.unwrap().done;
    looks.end("claim mails, named and due", 300).await;
    for mail in mails.iter().take(1) {
        notices::mail_ended(looks.client, mail, &MailOutcome::Delivered).await.unwrap();
        looks.end("the end of a mail", 40).await;
    }

    let hosts = callbacks::hosts(looks.client, None, 1_000).await.unwrap().due;
    looks.end("fifty hosts with callbacks", 550).await;
    let hosts = hosts.into_iter().map(|host| (host, 5)).collect();
    let room = Room { hosts, users: vec![(HEAVY, 9)], per_user: 5, limit: 64 };
    let due = Due { room: &room, hold, quarantine: &[] };
    let claimed = callbacks::claim(looks.client, &due).await.unwrap().done;
    looks.end("claim 64 callbacks, half of all by one user who may have no more", 19_000).await;
    for one in claimed.iter().take(1) {
        let delivered = CallbackOutcome::Delivered;
        callbacks::ended(looks.client, one, &delivered, Some(200), None).await.unwrap();
        looks.end("the end of a callback", 30).await;
    }
    callbacks::health(looks.client).await.unwrap();
    looks.end("health of callbacks", 12_000).await;

    requests(&mut looks).await;
    console(&mut looks).await;
    removal(&mut looks).await;
    pauses::all(looks.client).await.unwrap();
    pauses::lifts(looks.client).await.unwrap();
    models::publish(looks.client, "w", &[]).await.unwrap();
    models::in_use(looks.client).await.unwrap();
    models::providers(looks.client).await.unwrap();
    models::retiring(looks.client).await.unwrap();
    test_calls::take(looks.client, "w", &["openai"]).await.unwrap();
    looks.end("pauses, models and test calls", 30).await;
    let sign = SignOfLife {
        worker_id: "w".to_owned(),
        version: "1",
        host: "h".to_owned(),
        pid: 1,
        slots: 1,
    };
    workers::seen(looks.client, &sign, 1, false).await.unwrap();
    workers::describe(looks.client, "w", &[]).await.unwrap();
    workers::gone(looks.client, "w").await.unwrap();
    looks.end("the life of a worker, with seventy that are gone", 40).await;
    (looks.found, looks.lost_and_overdue)
}

/// How jobs end otherwise, each a call of a worker for a job that it holds.
async fn ends(looks: &mut Looks<'_>, held: &[Held]) {
    let held = |at: usize| held.get(at).copied().unwrap_or(NOBODYS);
    let tx = looks.client.transaction();
    jobs::fail(&tx, held(0), FailureCode::Refused, "", &Value::Null, PER_USER).await.unwrap();
    tx.commit().await.unwrap();
    looks.end("a job fails", 140).await;
    let (soon, stage) = (Duration::from_secs(60), "queued");
    let tx = looks.client.transaction();
    jobs::retry_later(&tx, held(1), stage, soon, "", true, PER_USER).await.unwrap();
    tx.commit().await.unwrap();
    looks.end("a job is retried later", 120).await;
    jobs::lose_each(looks.client, &[held(2), held(3)], "", PER_USER).await.unwrap();
    looks.end("two claims without a handler", 250).await;
    jobs::keep_learnt(looks.client, held(4), &[]).await.unwrap();
    jobs::targets(looks.client, &[held(4).id]).await.unwrap();
    jobs::traces(looks.client, held(4).id).await.unwrap();
    jobs::raw_reply(looks.client, held(4).id, 1).await.unwrap();
    jobs::usable_reply(looks.client, held(4).id).await.unwrap();
    looks.end("what is known of a job", 50).await;
}

/// What a worker does with an event of Stripe's.
async fn stripe(looks: &mut Looks<'_>, events: &[ClaimedEvent]) {
    let customer = looks.client.query_opt("select id from regimen.customers limit 1", &[]).await;
    let customer: String = customer.unwrap().map_or_else(|| "cus".to_owned(), |row| row.get(0));
    looks.skip().await;
    if let [first, second, ..] = events {
        let tx = looks.client.transaction();
        assert!(claims::lock(&tx, &first.id).await.unwrap());
        customers::lock(&tx, &customer).await.unwrap();
        let before = customers::load(&tx, &customer).await.unwrap();
        let mut record = Record::from_checkout("sub_1", &customer, true);
        record.metadata_user = Some(HEAVY);
        let after = CustomerState { records: vec![record], ..CustomerState::default() };
        let (policy, now) = (EntitlementPolicy::default(), Clock::system().now());
        for user in customers::save(&tx, &customer, &before, &after).await.unwrap() {
            profiles::refresh(&tx, user, true, &policy, now).await.unwrap();
        }
        claims::wake_unresolved(&tx, &customer).await.unwrap();
        let (state, reason) = (EventState::Applied, None);
        let ending = Ending { state, reason, customer: Some(&customer) };
        claims::settle(&tx, &first.id, &ending).await.unwrap();
        tx.rollback().await.unwrap();
        looks.end("an event is applied", 250).await;
        let failure = Failure { code: "x", detail: "x" };
        claims::retry_later(looks.client, first, Duration::ZERO, &failure).await.unwrap();
        claims::bury(looks.client, second, &failure).await.unwrap();
        looks.end("two events fail", 60).await;
    }
    payers::payer(looks.client, HEAVY, &[]).await.unwrap();
    payers::owns(looks.client, HEAVY, "sub_1").await.unwrap();
    looks.end("a payer", 30).await;
    events::known(looks.client, &["evt_1".to_owned()]).await.unwrap();
    events::find(looks.client, "evt_1").await.unwrap();
    events::facts(looks.client, "evt_1").await.unwrap();
    events::payload(looks.client, "evt_1").await.unwrap();
    events::of_customer(looks.client, "cus_x", 20).await.unwrap();
    looks.end("an event", 30).await;
}

/// What a worker writes of two jobs that it holds.
async fn calls(looks: &mut Looks<'_>, held: &[Held]) {
    let sql = "select coalesce((select user_id from regimen.jobs where id = $1), $2)";
    let mut users: Vec<Uuid> = Vec::new();
    for held in held {
        users.push(looks.client.query_one(sql, &[&held.id, &HEAVY]).await.unwrap().get(0));
    }
    let profile = "insert into public.profiles (id, email) values ($1, 'x') on conflict do nothing";
    looks.client.execute(profile, &[&HEAVY]).await.unwrap();
    let new = |&held: &Held| {
        let (id, most_micros, warning) = (Uuid::now_v7(), 5, None);
        let (provider, model, prompt_version) = ("openai", "m", "1");
        (held, NewAttempt { id, provider, model, prompt_version, most_micros, warning })
    };
    let starts: Vec<_> = held.iter().map(new).collect();
    looks.end("whose jobs", 50).await;
    jobs::start_attempts(looks.client, &starts).await.unwrap();
    looks.end("start two calls", 110).await;
    let reply = |(held, new): &(Held, NewAttempt<'_>)| {
        let (held, attempt_id, raw) = (*held, new.id, "{}");
        PaidReply { held, attempt_id, raw, http_status: None, request_id: None }
    };
    let replies: Vec<_> = starts.iter().map(reply).collect();
    jobs::store_replies(looks.client, &replies).await.unwrap();
    looks.end("store two replies", 100).await;
    let judged = AttemptOutcome {
        outcome: "ok",
        error_detail: None,
        http_status: None,
        request_id: None,
        usage: None,
    };
    jobs::judge_attempt(looks.client, starts[0].1.id, &judged).await.unwrap();
    looks.end("judge a call", 40).await;
    jobs::append_event(looks.client, held[0], JobEventKind::Repaired, "x", &Value::Null)
        .await
        .unwrap();
    looks.end("an event of a job", 40).await;
    let success = |_: &Held| Success {
        plan_id: Uuid::now_v7(),
        provider: "openai".to_owned(),
        model: "m".to_owned(),
        reply: None,
    };
    let successes: Vec<_> = held.iter().map(success).collect();
    let ends: Vec<_> = held
        .iter()
        .zip(&successes)
        .zip(&users)
        .map(|((&held, success), &user)| {
            let plan = empty_plan(success.plan_id, user);
            SuccessfulEnd { held, success, plan }
        })
        .collect();
    jobs::succeed_together(looks.client, &ends, PER_USER).await.unwrap();
    looks.end("the ends of two jobs", 500).await;
    for &held in held {
        let found = jobs::find_end(looks.client, held, &[JobEventKind::Saved]).await.unwrap();
        assert_eq!(found.is_some(), held != NOBODYS, "{held:?}");
    }
    looks.end("two ends looked for, with what they dispatched", 100).await;
}

/// What requests ask, also of a user with much behind them.
async fn requests(looks: &mut Looks<'_>) {
    let newcomers: Vec<Uuid> = (0..64).map(|_| Uuid::now_v7()).collect();
    let profiles = "insert into public.profiles (id, email) select unnest($1::uuid[]), 'x'";
    looks.client.execute(profiles, &[&newcomers]).await.unwrap();
    looks.end("64 profiles", 1_100).await;
    let alone = request(newcomers[0], 2);
    jobs::accept(looks.client, &alone).await.unwrap();
    looks.end("accept two", 160).await;
    let heavy = request(HEAVY, 1);
    jobs::accept(looks.client, &heavy).await.unwrap();
    looks.end("accept one of the heavy user", 110).await;
    let together: Vec<NewJobs> = newcomers.iter().map(|user| request(*user, 2)).collect();
    let together: Vec<&NewJobs> = together.iter().collect();
    let accepted = jobs::accept_together(looks.client, &together).await.unwrap();
    assert!(accepted.iter().all(Option::is_some));
    looks.end("accept two for each of 64 users", 8_500).await;
    jobs::answered_before(looks.client, HEAVY, "key", b"hash").await.unwrap();
    looks.end("the answer kept under a key", 20).await;
    let job = heavy.jobs[0].id;
    jobs::job(looks.client, job, Some(HEAVY)).await.unwrap().unwrap();
    jobs::revisions(looks.client, &[job]).await.unwrap();
    jobs::marks(looks.client, &[job]).await.unwrap();
    looks.end("a job, its revision and mark", 40).await;
    jobs::details(looks.client, &[job]).await.unwrap();
    looks.end("a job's details", 30).await;
    jobs::histories(looks.client, &[(job, 0)]).await.unwrap();
    looks.end("a job's history", 20).await;
    let page = ListFilter { limit: 50, ..ListFilter::default() };
    jobs::jobs_of_user(looks.client, HEAVY, &page).await.unwrap();
    looks.end("a page of a user's jobs", 150).await;
    accounts::ensure_profile(looks.client, HEAVY, None).await.unwrap();
    accounts::plan_tier(looks.client, HEAVY).await.unwrap();
    looks.end("a user's profile and tier", 30).await;
    for kind in [PlanKind::Meal, PlanKind::Workout] {
        plans::active_plan(looks.client, HEAVY, kind).await.unwrap();
        plans::newest_row(looks.client, HEAVY, kind, Duration::ZERO).await.unwrap();
    }
    looks.end("the active and the newest plans of a user with 200", 1_400).await;
    export::profile(looks.client, HEAVY).await.unwrap();
    for rows in [Rows::Quizzes, Rows::MealPlans, Rows::WorkoutPlans, Rows::Usage] {
        export::page(looks.client, rows, HEAVY, None, 50).await.unwrap();
    }
    looks.end("pages of a user's export", 1_700).await;
    let quiz = Uuid::nil();
    accounts::fill_in_calculations(looks.client, quiz, HEAVY, &Value::Null).await.unwrap();
    looks.end("targets of a quiz", 20).await;
    jobs::generation_of(looks.client, HEAVY).await.unwrap();
    looks.end("the newest job of each kind", 200).await;
    generations::month(looks.client, HEAVY).await.unwrap();
    generations::month_cost(looks.client, HEAVY).await.unwrap();
    generations::give_back_month(looks.client, HEAVY).await.unwrap();
    looks.end("what a user used up this month", 40).await;
    let tx = looks.client.transaction();
    jobs::cancel(&tx, job, Canceller::Owner(HEAVY), PER_USER).await.unwrap();
    tx.commit().await.unwrap();
    looks.end("cancel a job", 90).await;
}

/// What the operators' console asks, page by page.
async fn console(looks: &mut Looks<'_>) {
    let page = || OperatorFilter { limit: 51, ..OperatorFilter::default() };
    let rare = || Some("rare".to_owned());
    for (what, filter, most) in [
        ("the newest jobs", page(), 300),
        (
            "failed jobs, hardly any",
            OperatorFilter { state: Some(JobState::Failed), ..page() },
            1_000,
        ),
        ("queued jobs", OperatorFilter { state: Some(JobState::Queued), ..page() }, 450),
        ("running jobs, 2,000", OperatorFilter { state: Some(JobState::Running), ..page() }, 4_000),
        ("jobs of a user", OperatorFilter { user_id: Some(HEAVY), ..page() }, 350),
        ("a rare provider, one window", OperatorFilter { provider: rare(), ..page() }, 35_000),
    ] {
        jobs::search(looks.client, &filter).await.unwrap();
        looks.end(what, most).await;
    }
    let now = looks.client.query_one("select now()", &[]).await.unwrap().get(0);
    let hold = Duration::from_secs(60);
    stats::begin(looks.client, "w", hold).await.unwrap().unwrap();
    stats::count(looks.client, "w", now).await.unwrap();
    looks.end("count of a minute in which nothing was", 40).await;
    let accepted = "select date_trunc('minute', max(created_at)) from regimen.jobs
                    where state = 'queued' and created_at < now() - interval '50 min'";
    let accepted: Option<_> = looks.client.query_one(accepted, &[]).await.unwrap().get(0);
    looks.skip().await;
    if let Some(minute) = accepted {
        stats::count(looks.client, "w", minute).await.unwrap();
        looks.end("count of a minute with 200,000 accepted", 120_000).await;
    }
    stats::end(looks.client, "w").await.unwrap();
    stats::forget(looks.client).await.unwrap();
    looks.end("minutes kept no longer, 500 of each table", 5_000).await;
    stats::series(looks.client, now, TimeDelta::minutes(1)).await.unwrap();
    stats::durations(looks.client, now).await.unwrap();
    stats::providers(looks.client, now).await.unwrap();
    looks.end("charts of no minute", 30).await;
    let page = |state, customer: Option<&str>, type_name: Option<&str>| EventFilter {
        state,
        customer: customer.map(str::to_owned),
        type_name: type_name.map(str::to_owned),
        limit: 51,
        ..EventFilter::default()
    };
    for (what, filter, most) in [
        ("dead events, a window", page(Some(EventState::Dead), None, None), 3_500),
        ("applied events, a window", page(Some(EventState::Applied), None, None), 1_300),
        ("events of a rare type", page(None, None, Some("rare.")), 1_300),
        ("events of a customer", page(None, Some("cus_x"), None), 20),
    ] {
        let found = events::search(looks.client, &filter).await.unwrap();
        looks.end(what, most).await;
        assert!(found.events.len() <= 51, "{what}");
    }
    events::unresolved_customers(looks.client, 50).await.unwrap();
    looks.end("customers of 1,000 unresolved events", 250).await;
    payers::subscribers(looks.client, &SubscriberFilter { limit: 51, ..Default::default() })
        .await
        .unwrap();
    looks.end("a page of subscribers", 350).await;
    let email = Some("rare".to_owned());
    let rare = SubscriberFilter { email, limit: 51, ..Default::default() };
    payers::subscribers(looks.client, &rare).await.unwrap();
    looks.end("subscribers of a rare address, a window", 60_000).await;
    let actor = Some("rare".to_owned());
    let rare = Filter { actor, limit: 51, ..Filter::default() };
    admin_actions::list(looks.client, &rare).await.unwrap();
    looks.end("actions of a rare actor, a window", 400).await;
    let kinds = [DeadKind::Job, DeadKind::Callback, DeadKind::StripeEvent, DeadKind::Mail];
    dead::letters(looks.client, &kinds, 50).await.unwrap();
    looks.end("fifty dead letters of each kind", 250).await;
    spend::waiting(looks.client).await.unwrap();
    looks.end("what waits for a budget, 20,000 looked at", 35_000).await;
    revenue::begin(looks.client).await.unwrap();
    revenue::days(looks.client, chrono::NaiveDate::default()).await.unwrap();
    looks.end("revenue of the days", 20).await;
    accounts::users_by_email(looks.client, "x", 20).await.unwrap();
    notices::of_user(looks.client, HEAVY, 20).await.unwrap();
    looks.end("a user by address, and their notices", 30).await;
}

/// What is over, and what deleted accounts left behind.
async fn removal(looks: &mut Looks<'_>) {
    let never = Duration::from_secs(86_400);
    for &kept in Kept::ALL {
        // Notices and Stripe's events of the fill are not settled, but for some.
        for (age, most) in [(never, 50), (Duration::ZERO, 12_000)] {
            let page = retention::page(looks.client, kept, age, Place::default(), 200).await;
            let page = page.unwrap();
            if age == never {
                assert_eq!(page.keys.len(), 0, "{kept}");
            }
            retention::forget(looks.client, kept, age, &page.keys).await.unwrap();
            looks.end(kept.as_str(), most).await;
        }
    }
    let tx = looks.client.transaction();
    erasure::delete_account(&tx, LEAVER, false).await.unwrap();
    tx.commit().await.unwrap();
    looks.end("delete an account with 200 quizzes", 9_000).await;
    let (hold, every) = (Duration::from_secs(60), Duration::from_secs(60));
    retention::begin(looks.client, "w", every, hold).await.unwrap();
    retention::hold_on(looks.client, "w", hold).await.unwrap();
    retention::end(looks.client, "w", true).await.unwrap();
    retention::age(looks.client).await.unwrap();
    looks.end("turn of the retention run", 20).await;
    erasure::overdue(looks.client).await.unwrap();
    let left = LeftBehind { limit: 20, quarantine: &[] };
    erasure::due(looks.client, &left).await.unwrap();
    looks.end("twenty accounts to erase", 500).await;
    let heavy = looks.client.query_one("select now()", &[]).await.unwrap();
    let heavy = (HEAVY, heavy.get(0));
    erasure::erase_some(looks.client, heavy, 500).await.unwrap();
    looks.end("erase some of a user, with 200 quizzes", 9_000).await;
    erasure::erase_jobs(looks.client, heavy, JobsAfter::newest(heavy), 500).await.unwrap();
    looks.end("erase 500 jobs", 25_000).await;
    erasure::look_again(looks.client, HEAVY).await.unwrap();
    erasure::conclude(looks.client, heavy).await.unwrap();
    looks.end("conclude an erasure", 30).await;
}

async fn fill(client: &Client, users: u32) {
    let sql = FILL.replace("USERS", &users.to_string()).replace("HEAVY", &HEAVY.to_string());
    let sql = sql.replace("LEAVER", &LEAVER.to_string());
    client.batch_execute(&sql).await.unwrap();
}

/// The texts of the session's prepared statements.
async fn prepared(client: &Client) -> BTreeSet<String> {
    let sql = "select statement from pg_prepared_statements where statement like '-- %'";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The first line of a statement, which names it.
fn name_of(text: &str) -> &str {
    text.trim_start_matches("-- ").lines().next().unwrap_or_default().trim_end()
}

/// A statement as the sources write it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    file: String,
    name: String,
}

impl Named {
    /// Whether this is its name: a word in braces stands for any, and a name that ends
    /// within the text of a macro for any that begins so.
    fn is(&self, name: &str) -> bool {
        match self.name.split_once('{') {
            Some((start, rest)) => {
                let end = rest.split_once('}').map_or("", |(_, end)| end);
                name.starts_with(start) && name.ends_with(end)
            }
            None if self.name.ends_with(' ') => name.starts_with(&self.name),
            None => name == self.name,
        }
    }
}

impl Named {
    fn is_left_out(&self) -> bool {
        let place = format!("{}: {}", self.file, self.name);
        LEFT_OUT.iter().any(|(_, places)| places.iter().any(|start| place.starts_with(start)))
    }
}

/// Statements that are not looked at, by the beginning of their file and name, and why.
const LEFT_OUT: &[(&str, &[&str])] = &[
    ("runs with a migration", &["app_indexes.rs", "migrate.rs", "rehearsal.rs"]),
    (
        "a command or page of operators, over a span that they choose, within a time limit",
        &[
            "report.rs",
            "spend.rs: spend",
            "billing/payers.rs: standing",
            "accounts.rs: count users",
        ],
    ),
    (
        "reads or writes one row by its key, at the hand of an operator or a user",
        &[
            "admin_actions.rs: begin",
            "admin_actions.rs: end admin action",
            "billing/checkouts.rs",
            "billing/customers.rs: void replies",
            "billing/events.rs: replay",
            "billing/events.rs: store",
            "billing/notices.rs: add notice",
            "billing/notices.rs: show notice",
            "billing/payers.rs: customer is missing",
            "console.rs",
            "dead.rs: replay",
            "generations.rs: give extra",
            "jobs/operate.rs: lock job to retry",
            "jobs/operate.rs: retry job",
        ],
    ),
    (
        "a table of a few rows: pauses, prices, models, workers, test calls, days",
        &[
            "billing/backfill.rs",
            "billing/payers.rs: store price",
            "billing/payers.rs: unknown prices",
            "billing/revenue.rs: keep",
            "models.rs: withdraw",
            "pauses.rs",
            "test_calls.rs",
            "workers.rs",
        ],
    ),
    (
        "all subscriptions once an hour or a day, or page by page, as docs/bounds.md says",
        &[
            "billing/payers.rs: revenue",
            "billing/profiles.rs: subscribed",
            "billing/profiles.rs: unread",
        ],
    ),
    ("half a day of minutes, by their key", &["stats/half_days.rs"]),
    ("up to 500 by the index of dead ones, at the hand of an operator", &["dead.rs: callbacks"]),
    ("the existence of a row in four tables, on connections of the pool", &["pool.rs: readiness"]),
    (
        "the row of a plan by its id, or the plans of a user, where the first write did not do",
        &["plans.rs: replace", "plans.rs: lock profiles", "jobs/finish.rs: saved in an older row"],
    ),
];

/// The statements that the modules of the database name.
fn statements() -> BTreeSet<Named> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/db");
    let (mut folders, mut found) = (vec![root.clone()], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let file = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            for part in text.split("\"-- ").skip(1) {
                let end = part.find(['\n', '"', '\\']).unwrap_or(part.len());
                found.insert(Named { file: file.clone(), name: part[..end].to_owned() });
            }
        }
    }
    found
}

async fn canary(client: &Client) -> Vec<String> {
    client.query(CANARY, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// `before`: so many users were there when the plans were made. `then`: what happened to
/// them, and what the planner was told before it made the plans.
/// `idle`: statements that could not run then, because there was nothing to do.
async fn bounded_by_shape(before: u32, then: &[&str], idle: &[&str]) {
    let database = TestDatabase::new().await;
    let mut client = database.client().await;
    client.batch_execute(NO_STATISTICS).await.unwrap();
    fill(&client, before).await;
    for sql in then {
        client.batch_execute(sql).await.unwrap();
    }
    client.batch_execute("set plan_cache_mode = force_generic_plan").await.unwrap();
    client.batch_execute("prepare canary as select from regimen.jobs where id = $1").await.unwrap();
    look_at_everything(&mut client).await;
    let plan = canary(&client).await;
    let planned = prepared(&client).await;
    fill(&database.client().await, 20_000).await;
    let (found, lost_and_overdue) = look_at_everything(&mut client).await;
    assert_eq!(canary(&client).await, plan, "the plans were made anew");
    assert_eq!(lost_and_overdue, (200, 200));
    let most = "select max(accepted) from regimen.stats_minutely";
    let most: i64 = client.query_one(most, &[]).await.unwrap().get(0);
    assert_eq!(most, 100_000, "of 200,000 accepted in a minute");
    let late: Vec<_> = prepared(&client).await.difference(&planned).cloned().collect();
    let late: Vec<_> = late.iter().map(|text| name_of(text)).collect();
    let late: Vec<_> = late.into_iter().filter(|name| !idle.contains(name)).collect();
    assert_eq!(late, Vec::<&str>::new(), "planned when the tables were full already");
    let all = prepared(&client).await;
    let ran: BTreeSet<_> = all.iter().map(|text| name_of(text)).collect();
    let never = statements().into_iter().filter(|one| !one.is_left_out());
    let never: Vec<_> = never.filter(|one| !ran.iter().any(|name| one.is(name))).collect();
    assert_eq!(never, [], "no look runs it; one more look, or a reason in LEFT_OUT");
    // Twice more, for the times: a look counts again where there is as much to do.
    let mut found = found;
    for _ in 0..2 {
        let (again, _) = look_at_everything(&mut client).await;
        for (what, touched, _, took) in again {
            let same = found.iter_mut().find(|one| one.0 == what && touched * 2 >= one.1);
            if let Some(one) = same {
                one.3 = one.3.min(took);
            }
        }
    }
    let over: Vec<_> = found
        .iter()
        .filter(|(_, touched, most, took)| touched > most || *took > longest(*touched))
        .collect();
    assert!(over.is_empty(), "touched more than they may: {over:#?} of {found:#?}");
}

#[tokio::test]
async fn looks_are_bounded_with_plans_made_without_statistics() {
    bounded_by_shape(60, &[], &[]).await;
}

#[tokio::test]
async fn looks_are_bounded_with_plans_made_while_statistics_were_young() {
    bounded_by_shape(60, &["analyze"], &[]).await;
}

/// Each table is one page: every index of it costs the same.
#[tokio::test]
async fn looks_are_bounded_with_plans_made_of_tables_of_one_page() {
    bounded_by_shape(3, &["analyze"], &[]).await;
}

#[tokio::test]
async fn looks_are_bounded_with_plans_made_of_tables_of_one_page_without_statistics() {
    bounded_by_shape(3, &[], &[]).await;
}

#[tokio::test]
async fn looks_are_bounded_with_plans_made_of_a_history_when_nothing_waited() {
    let idle = [
        "deactivate meal plans",
        "dispatch ready",
        "expire overdue",
        "redispatch lost",
        "save meal plan",
        "still lost",
    ];
    bounded_by_shape(3, &[NIGHT, "vacuum analyze"], &idle).await;
}
