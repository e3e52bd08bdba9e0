//! What the statements read that run again and again or with each request, with
//! 200,000 jobs of 20,000 users waiting and much else beside them: bounded by
//! their shape, whatever the planner believed when it made their plans.
//!
//! Plans are generic, made while the tables held next to nothing, and kept; the
//! statistics are never made anew.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use regimen_common::db::Client;
use regimen_common::db::billing::claims::{self, DueEvents};
use regimen_common::db::billing::events::{EventFilter, EventState};
use regimen_common::db::billing::notices::{self, DueMails};
use regimen_common::db::billing::repairs::{self, DueUnresolved, LostIds, Poisoned};
use regimen_common::db::billing::{events, profiles, revenue};
use regimen_common::db::callbacks::{self, Due, Room};
use regimen_common::db::erasure::{self, JobsAfter, LeftBehind};
use regimen_common::db::jobs::{
    self, Canceller, DeletedAccounts, Held, ListFilter, NewAttempt, NewJobs, OperatorFilter,
    OverAnswers, PaidReply, Success, SuccessfulEnd,
};
use regimen_common::db::retention::{self, Kept, Place};
use regimen_common::db::{accounts, generations, models, pauses, spend, stats, test_calls, usage};
use regimen_common::dispatch::Weights;
use regimen_common::job::{JobEventKind, JobState};
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
           case when k <= 2 and n % 50 > 0 then now() - interval '1 hour' + n * interval '1 ms' end,
           now() - interval '1 hour', now() + interval '1 day', now()
    from users u, generate_series(1, 10) k;
    insert into regimen.jobs (id, user_id, generation_id, kind, class, input, state, worker_id,
                              lease_expires_at, first_claimed_at, run_at, created_at, expires_at,
                              updated_at, fence)
    select gen_random_uuid(), u.id, u.id, 'meal', 'free', '{}', 'running',
           'worker ' || n / 10 % 30, now() + interval '1 hour' * (1 + random()), now(), now(), now(),
           now(), now(), n
    from users u where n % 10 = 1;
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
    select gen_random_uuid(), id, 'https://x', 'host ' || n % 50, now() - n * interval '1 ms'
    from users;
    insert into regimen.stripe_events (id, type, payload, source, state, settled_at, dispatched_at,
                                       run_at, received_at)
    select 'evt_' || gen_random_uuid(), 't', '{}', 'webhook', state,
           case when state <> 'received' then now() end,
           case when n % 3 > 0 then now() end, now() + case n % 3 when 0 then interval '1 h' else '0' end,
           now() - n * interval '1 s'
    from users, unnest(array['received', 'unresolved', 'dead', 'mismatched']) state;
    insert into regimen.billing_notices (event_id, kind, user_id, mail_state, dispatched_at, run_at)
    select 'evt_' || id, 'payment_failed', id, 'waiting', case when n % 3 > 0 then now() end,
           now() + case n % 3 when 0 then interval '1 hour' else '0' end
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
    select gen_random_uuid(), now() - interval '1 hour', case n % 20 when 0 then null else now() end,
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
    insert into regimen.admin_actions (at, actor, action, target)
    select now() - n * interval '1 ms', 'a', 'b', 'c' from users;
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
/// Generous: the machine is busy, and the build is not optimised.
const LONGEST: Duration = Duration::from_secs(2);

/// What each look touched.
struct Looks<'a> {
    client: &'a mut Client,
    before: i64,
    since: Instant,
    found: Vec<(&'static str, i64, i64, Duration)>,
}

impl Looks<'_> {
    /// Ends a look that may touch `most` buffers.
    async fn end(&mut self, what: &'static str, most: i64) {
        let took = self.since.elapsed();
        let now = buffers(self.client).await;
        self.found.push((what, now - self.before, most, took));
        self.skip().await;
    }

    /// What the test itself read since the last look is no look.
    async fn skip(&mut self) {
        self.before = buffers(self.client).await;
        self.since = Instant::now();
    }
}

/// Everything that runs again and again, once.
async fn look_at_everything(client: &mut Client) -> Vec<(&'static str, i64, i64, Duration)> {
    let some = "select array(select id from regimen.jobs where state = 'queued'
                             and dispatched_at is not null limit 2),
                       array(select id from regimen.jobs where worker_id = 'worker 1'),
                       array(select fence from regimen.jobs where worker_id = 'worker 1'),
                       array(select id from regimen.stripe_events where state = 'received' limit 5),
                       -- All their jobs wait, and the walk over 1,000 users does not come so far.
                       array(select user_id from regimen.jobs where state = 'queued'
                             group by 1 having count(dispatched_at) = 0 order by 1 desc limit 1)";
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
    let before = buffers(client).await;
    let mut looks = Looks { client, before, since: Instant::now(), found: Vec::new() };

    recover_leases(looks.client, 200).await;
    looks.end("recover leases, none lost, of seventy workers that are gone", 250).await;
    expire_overdue(looks.client, 200).await;
    looks.end("expire overdue, none", 50).await;
    dispatch_ready(looks.client, None, 1_000).await;
    looks.end("dispatch ready, 1,000 users", 40_000).await;
    redispatch_lost(looks.client, None, Duration::from_secs(1), 200).await;
    looks.end("redispatch lost, 200 jobs", 15_000).await;
    redispatch_lost(looks.client, None, Duration::from_secs(86_400), 200).await;
    looks.end("redispatch lost, none", 50).await;
    let accounts = DeletedAccounts { limit: 50, quarantine: &[] };
    jobs::deleted_accounts(looks.client, &accounts).await.unwrap();
    looks.end("fifty deleted accounts", 2_000).await;
    jobs::forget_answers(
        looks.client,
        &OverAnswers { since: Duration::ZERO, limit: 200, quarantine: &[] },
    )
    .await
    .unwrap();
    looks.end("forget 200 kept answers", 4_000).await;
    jobs::queue_health(looks.client).await.unwrap();
    // Entries of what was claimed a moment ago are passed over, until they are cleared away.
    looks.end("queue health", 400).await;
    jobs::backlog(looks.client, Duration::from_secs(60)).await.unwrap();
    looks.end("backlog, the pace of 2,000 ends", 6_000).await;
    jobs::lines(looks.client, 10_000, Duration::from_secs(60)).await.unwrap();
    looks.end("lines, 10,000 places", 30_000).await;
    jobs::dispatch_next(looks.client, &[HEAVY], PER_USER).await.unwrap();
    looks.end("dispatch next, none", 100).await;
    jobs::dispatch_next(looks.client, &waiting, PER_USER).await.unwrap();
    looks.end("dispatch next, two", 200).await;
    jobs::claim(looks.client, &ids, &policy("w")).await.unwrap();
    looks.end("claim two", 300).await;
    claim_waiting(looks.client, 64, Weights { first: 4, second: 1 }).await;
    looks.end("claim 64 directly", 12_000).await;
    jobs::extend_lease(looks.client, "worker 3", Duration::from_secs(600)).await.unwrap();
    looks.end("extend the lease of 67 jobs", 400).await;
    calls(&mut looks, held.get(2..4).unwrap_or(&[NOBODYS, NOBODYS])).await;
    release(looks.client, &held[..held.len().min(2)]).await;
    looks.end("hand two back", 400).await;
    jobs::held_by(looks.client, "nobody").await.unwrap();
    looks.end("what a worker holds", 20).await;
    let today = looks.client.query_one("select now()", &[]).await.unwrap().get(0);
    usage::spent_micros(looks.client, None, today).await.unwrap();
    looks.end("spent by all in a day, 2,000 calls under way", 30_000).await;
    usage::spent_micros(looks.client, Some(HEAVY), today).await.unwrap();
    looks.end("spent by a user", 100).await;

    let poisoned = Poisoned { holders: 3, limit: 500, quarantine: &[] };
    repairs::bury_poisoned(looks.client, &poisoned).await.unwrap();
    looks.end("bury poisoned events, none", 50).await;
    let unresolved = DueUnresolved { limit: 500, quarantine: &[] };
    repairs::wake_due(looks.client, &unresolved).await.unwrap();
    looks.end("wake 500 unresolved events", 30_000).await;
    profiles::grace_over(looks.client, None, 60.0, 500).await.unwrap();
    looks.end("grace of 500 users", 8_000).await;
    let patience = Duration::from_secs(3_600);
    let lost = LostIds { popped_before: None, patience, limit: 500, quarantine: &[] };
    repairs::dispatch_lost(looks.client, &lost).await.unwrap();
    repairs::dispatch_lost_mails(looks.client, &lost).await.unwrap();
    looks.end("lost events and mails, those just woken", 30_000).await;
    events::lag(looks.client).await.unwrap();
    looks.end("lag of events", 12_000).await;
    events::attention(looks.client).await.unwrap();
    looks.end("events needing attention", 4_000).await;
    let hold = Duration::from_secs(60);
    claims::claim(looks.client, &event_ids, hold).await.unwrap();
    looks.end("claim five events", 500).await;
    claims::claim_due(looks.client, &DueEvents { limit: 5, hold, quarantine: &[] }).await.unwrap();
    looks.end("claim five due events", 500).await;
    let mails = DueMails { limit: 5, hold, quarantine: &[] };
    notices::claim_mails(looks.client, Some(&event_ids), &mails).await.unwrap();
    notices::claim_mails(looks.client, None, &mails).await.unwrap();
    looks.end("claim mails, named and due", 500).await;

    let hosts = callbacks::hosts(looks.client, None, 1_000).await.unwrap().due;
    looks.end("fifty hosts with callbacks", 1_000).await;
    let hosts = hosts.into_iter().map(|host| (host, 5)).collect();
    let room = Room { hosts, users: vec![(HEAVY, 9)], per_user: 5, limit: 64 };
    callbacks::claim(looks.client, &Due { room: &room, hold, quarantine: &[] }).await.unwrap();
    looks.end("claim 64 callbacks", 6_000).await;
    callbacks::health(looks.client).await.unwrap();
    looks.end("health of callbacks", 12_000).await;

    requests(&mut looks).await;
    console(&mut looks).await;
    removal(&mut looks).await;
    pauses::all(looks.client).await.unwrap();
    models::publish(looks.client, "w", &[]).await.unwrap();
    models::retiring(looks.client).await.unwrap();
    test_calls::take(looks.client, "w", &["openai"]).await.unwrap();
    looks.end("pauses, models and test calls", 100).await;
    looks.found
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
    looks.end("whose jobs", 100).await;
    jobs::start_attempts(looks.client, &starts).await.unwrap();
    looks.end("start two calls", 300).await;
    let reply = |(held, new): &(Held, NewAttempt<'_>)| {
        let (held, attempt_id, raw) = (*held, new.id, "{}");
        PaidReply { held, attempt_id, raw, http_status: None, request_id: None }
    };
    let replies: Vec<_> = starts.iter().map(reply).collect();
    jobs::store_replies(looks.client, &replies).await.unwrap();
    looks.end("store two replies", 300).await;
    jobs::append_event(looks.client, held[0], JobEventKind::Repaired, "x", &Value::Null)
        .await
        .unwrap();
    looks.end("an event of a job", 100).await;
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
    looks.end("the ends of two jobs", 1_000).await;
}

/// What requests ask, also of a user with much behind them.
async fn requests(looks: &mut Looks<'_>) {
    let newcomers: Vec<Uuid> = (0..64).map(|_| Uuid::now_v7()).collect();
    let profiles = "insert into public.profiles (id, email) select unnest($1::uuid[]), 'x'";
    looks.client.execute(profiles, &[&newcomers]).await.unwrap();
    looks.end("64 profiles", 4_000).await;
    let alone = request(newcomers[0], 2);
    jobs::accept(looks.client, &alone).await.unwrap();
    looks.end("accept two", 300).await;
    let heavy = request(HEAVY, 1);
    jobs::accept(looks.client, &heavy).await.unwrap();
    looks.end("accept one of the heavy user", 150).await;
    let together: Vec<NewJobs> = newcomers.iter().map(|user| request(*user, 2)).collect();
    let together: Vec<&NewJobs> = together.iter().collect();
    let accepted = jobs::accept_together(looks.client, &together).await.unwrap();
    assert!(accepted.iter().all(Option::is_some));
    looks.end("accept two for each of 64 users", 12_000).await;
    jobs::answered_before(looks.client, HEAVY, "key", b"hash").await.unwrap();
    looks.end("the answer kept under a key", 50).await;
    let job = heavy.jobs[0].id;
    jobs::job(looks.client, job, Some(HEAVY)).await.unwrap().unwrap();
    jobs::revisions(looks.client, &[job]).await.unwrap();
    jobs::marks(looks.client, &[job]).await.unwrap();
    looks.end("a job, its revision and mark", 100).await;
    jobs::details(looks.client, &[job]).await.unwrap();
    looks.end("a job's details", 2_500).await;
    jobs::histories(looks.client, &[(job, 0)]).await.unwrap();
    looks.end("a job's history", 50).await;
    let page = ListFilter { limit: 50, ..ListFilter::default() };
    jobs::jobs_of_user(looks.client, HEAVY, &page).await.unwrap();
    looks.end("a page of a user's jobs", 300).await;
    jobs::generation_of(looks.client, HEAVY).await.unwrap();
    looks.end("the newest job of each kind", 500).await;
    generations::month(looks.client, HEAVY).await.unwrap();
    looks.end("what a user used up this month", 100).await;
    let tx = looks.client.transaction().await.unwrap();
    jobs::cancel(&tx, job, Canceller::Owner(HEAVY), PER_USER).await.unwrap();
    tx.commit().await.unwrap();
    looks.end("cancel a job", 300).await;
}

/// What the operators' console asks, page by page.
async fn console(looks: &mut Looks<'_>) {
    let page = || OperatorFilter { limit: 51, ..OperatorFilter::default() };
    let rare = || Some("rare".to_owned());
    for (what, filter, most) in [
        ("the newest jobs", page(), 600),
        ("failed jobs, none", OperatorFilter { state: Some(JobState::Failed), ..page() }, 100),
        ("queued jobs", OperatorFilter { state: Some(JobState::Queued), ..page() }, 1_500),
        ("running jobs, 2,000", OperatorFilter { state: Some(JobState::Running), ..page() }, 8_000),
        ("jobs of a user", OperatorFilter { user_id: Some(HEAVY), ..page() }, 1_500),
        ("a rare provider, one window", OperatorFilter { provider: rare(), ..page() }, 50_000),
    ] {
        jobs::search(looks.client, &filter).await.unwrap();
        looks.end(what, most).await;
    }
    let now = looks.client.query_one("select now()", &[]).await.unwrap().get(0);
    let hold = Duration::from_secs(60);
    stats::begin(looks.client, "w", hold).await.unwrap().unwrap();
    stats::count(looks.client, "w", now).await.unwrap();
    looks.end("count of a minute in which nothing was", 100).await;
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
    looks.end("minutes kept no longer", 100).await;
    stats::series(looks.client, now, TimeDelta::minutes(1)).await.unwrap();
    stats::durations(looks.client, now).await.unwrap();
    stats::providers(looks.client, now).await.unwrap();
    looks.end("charts of no minute", 100).await;
    let page = |state, customer: Option<&str>, type_name: Option<&str>| EventFilter {
        state,
        customer: customer.map(str::to_owned),
        type_name: type_name.map(str::to_owned),
        limit: 51,
        ..EventFilter::default()
    };
    for (what, filter, most) in [
        ("dead events, a window", page(Some(EventState::Dead), None, None), 15_000),
        ("applied events, a window", page(Some(EventState::Applied), None, None), 15_000),
        ("events of a rare type", page(None, None, Some("rare.")), 15_000),
        ("events of a customer", page(None, Some("cus_x"), None), 100),
    ] {
        let found = events::search(looks.client, &filter).await.unwrap();
        looks.end(what, most).await;
        assert!(found.events.len() <= 51, "{what}");
    }
    events::unresolved_customers(looks.client, 50).await.unwrap();
    looks.end("customers of 1,000 unresolved events", 3_000).await;
    spend::waiting(looks.client).await.unwrap();
    looks.end("what waits for a budget, 20,000 looked at", 45_000).await;
    revenue::begin(looks.client).await.unwrap();
    revenue::days(looks.client, chrono::NaiveDate::default()).await.unwrap();
    looks.end("revenue of the days", 100).await;
    accounts::users_by_email(looks.client, "x", 20).await.unwrap();
    notices::of_user(looks.client, HEAVY, 20).await.unwrap();
    looks.end("a user by address, and their notices", 200).await;
}

/// What is over, and what deleted accounts left behind.
async fn removal(looks: &mut Looks<'_>) {
    let never = Duration::from_secs(86_400);
    for &kept in Kept::ALL {
        // Notices and Stripe's events of the fill are not settled, but for some.
        for (age, most) in [(never, 50), (Duration::ZERO, 25_000)] {
            let page = retention::page(looks.client, kept, age, Place::default(), 200).await;
            let page = page.unwrap();
            if age == never {
                assert_eq!(page.keys.len(), 0, "{kept}");
            }
            retention::forget(looks.client, kept, age, &page.keys).await.unwrap();
            looks.end(kept.as_str(), most).await;
        }
    }
    let tx = looks.client.transaction().await.unwrap();
    erasure::delete_account(&tx, LEAVER, false).await.unwrap();
    tx.commit().await.unwrap();
    looks.end("delete an account with 200 quizzes", 9_000).await;
    erasure::overdue(looks.client).await.unwrap();
    let left = LeftBehind { limit: 20, quarantine: &[] };
    erasure::due(looks.client, &left).await.unwrap();
    looks.end("twenty accounts to erase", 2_000).await;
    let heavy = looks.client.query_one("select now()", &[]).await.unwrap();
    let heavy = (HEAVY, heavy.get(0));
    erasure::erase_some(looks.client, heavy, 500).await.unwrap();
    looks.end("erase some of a user, with 200 quizzes", 9_000).await;
    erasure::erase_jobs(looks.client, heavy, JobsAfter::newest(heavy), 500).await.unwrap();
    looks.end("erase 500 jobs", 60_000).await;
    erasure::conclude(looks.client, heavy).await.unwrap();
    looks.end("conclude an erasure", 2_000).await;
}

async fn fill(client: &Client, users: u32) {
    let sql = FILL.replace("USERS", &users.to_string()).replace("HEAVY", &HEAVY.to_string());
    let sql = sql.replace("LEAVER", &LEAVER.to_string());
    client.batch_execute(&sql).await.unwrap();
}

async fn canary(client: &Client) -> Vec<String> {
    client.query(CANARY, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// `before`: so many users were there when the plans were made. `then`: what happened to
/// them, and what the planner was told before it made the plans.
async fn bounded_by_shape(before: u32, then: &[&str]) {
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
    fill(&database.client().await, 20_000).await;
    let found = look_at_everything(&mut client).await;
    assert_eq!(canary(&client).await, plan, "the plans were made anew");
    for (what, touched, most, took) in &found {
        println!("{touched:>7} of {most:>7} buffers, {took:>8.1?}: {what}");
    }
    let over: Vec<_> =
        found.iter().filter(|(_, touched, most, took)| touched > most || *took > LONGEST).collect();
    assert!(over.is_empty(), "touched more than they may: {over:#?} of {found:#?}");
}

#[tokio::test]
async fn looks_are_bounded_with_plans_made_without_statistics() {
    bounded_by_shape(60, &[]).await;
}

#[tokio::test]
async fn looks_are_bounded_with_plans_made_while_statistics_were_young() {
    bounded_by_shape(60, &["analyze"]).await;
}

/// Each table is one page: every index of it costs the same.
#[tokio::test]
async fn looks_are_bounded_with_plans_made_of_tables_of_one_page() {
    bounded_by_shape(3, &["analyze"]).await;
}

#[tokio::test]
async fn looks_are_bounded_with_plans_made_of_tables_of_one_page_without_statistics() {
    bounded_by_shape(3, &[]).await;
}

#[tokio::test]
async fn looks_are_bounded_with_plans_made_of_a_history_when_nothing_waited() {
    bounded_by_shape(3, &[NIGHT, "vacuum analyze"]).await;
}
