//! Counts per minute, and searches over everybody's jobs, against the rows themselves.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use regimen_common::db::jobs::{self, OperatorFilter};
use regimen_common::db::{Client, stats};
use regimen_common::job::{JobClass, JobState, PlanKind};
use regimen_common::test_support::TestDatabase;
use uuid::Uuid;

const HOLD: Duration = Duration::from_secs(60);

/// The minute that ended two minutes ago, by the database.
async fn minute(client: &Client) -> DateTime<Utc> {
    let sql = "select date_trunc('minute', now()) - interval '3 minutes'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// A job of that minute: accepted, claimed and ended so many seconds in, with a call.
async fn ended(client: &Client, minute: DateTime<Utc>, [made, claimed, over]: [i64; 3], how: &str) {
    let at = |seconds| minute + TimeDelta::seconds(seconds);
    let (state, code) = how.split_once(' ').unwrap_or((how, ""));
    let id = Uuid::from_u128(jobs::first_id(at(made)).as_u128() | u128::from(rand_bits()));
    let sql = "insert into regimen.jobs (id, user_id, generation_id, kind, class, input, state,
                   run_at, created_at, first_claimed_at, finished_at, expires_at, updated_at,
                   error_code)
               values ($1, gen_random_uuid(), gen_random_uuid(), 'meal', 'free', '{}', $2, $3, $3,
                   $4, $5, $3, $3, nullif($6, ''))";
    client.execute(sql, &[&id, &state, &at(made), &at(claimed), &at(over), &code]).await.unwrap();
    let sql = "insert into regimen.job_attempts (id, job_id, user_id, fence, n, provider, model,
                   prompt_version, started_at, finished_at, outcome, cost_micros)
               select gen_random_uuid(), id, user_id, 1, 1, 'openai', 'm', '1', first_claimed_at,
                   finished_at, case when state = 'succeeded' then 'ok' else 'timeout' end, 7
               from regimen.jobs where id = $1";
    client.execute(sql, &[&id]).await.unwrap();
}

fn rand_bits() -> u64 {
    Uuid::new_v4().as_u128() as u64 >> 1
}

#[tokio::test]
async fn a_minute_is_counted_once_however_often_and_by_one_worker() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let minute = minute(&client).await;
    for (times, how) in [
        ([1, 2, 12], "succeeded"),
        ([1, 3, 23], "succeeded"),
        ([-90, -80, 5], "succeeded"),
        ([2, 4, 20], "failed unverifiable"),
        ([2, 4, 21], "failed refused"),
        ([3, 4, 22], "cancelled"),
        ([3, 4, 23], "expired"),
        // Of the next minute.
        ([59, 60, 61], "succeeded"),
    ] {
        ended(&client, minute, times, how).await;
    }
    let first = stats::begin(&client, "one", HOLD).await.unwrap().unwrap();
    assert!(first < minute, "the first run goes back: {first}");
    assert_eq!(stats::begin(&client, "two", HOLD).await.unwrap(), None, "one at a time");
    for _ in 0..2 {
        let next = stats::count(&client, "one", minute).await.unwrap();
        assert_eq!(next, Some(minute + TimeDelta::minutes(1)));
    }
    let series = stats::series(&client, minute, TimeDelta::minutes(1)).await.unwrap();
    let counts = stats::Counts { accepted: 7, succeeded: 3, failed: 3, counted: 5, in_time: 2 };
    assert_eq!(series, [(minute, counts)], "the one that took 95 s is not in time");
    let durations = stats::durations(&client, minute).await.unwrap();
    let whole = durations.whole.quantile(0.5).unwrap();
    assert!((whole / 22.0 - 1.0).abs() < 0.3, "{whole}");
    assert_eq!(durations.wait.0.values().sum::<i64>(), 3);
    let providers = stats::providers(&client, minute).await.unwrap();
    let openai = &providers["openai"];
    assert_eq!((openai.calls, openai.cost_micros), (7, 49));
    assert_eq!((openai.outcomes["ok"], openai.outcomes["timeout"]), (3, 4));
    // The minute that runs is counted and stays next.
    let now: DateTime<Utc> =
        client.query_one("select date_trunc('minute', now())", &[]).await.unwrap().get(0);
    let next = stats::count(&client, "one", now).await.unwrap();
    assert!(next.is_none() || next == Some(now + TimeDelta::minutes(1)), "{next:?}");
    let again = stats::begin(&client, "one", HOLD).await.unwrap().unwrap();
    assert!(again >= now && again <= now + TimeDelta::minutes(1), "{again}");
    stats::end(&client, "one").await.unwrap();
    assert!(stats::begin(&client, "two", HOLD).await.unwrap().is_some());
    // Old minutes go.
    let old = "update regimen.stats_minutely set minute = minute - interval '40 days'";
    client.execute(old, &[]).await.unwrap();
    stats::forget(&client).await.unwrap();
    let left = client.query_one("select count(*) from regimen.stats_minutely", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_half_day_is_read_until_all_its_minutes_were_counted() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let now: DateTime<Utc> = client.query_one("select now()", &[]).await.unwrap().get(0);
    let today = stats::start_of(now);
    let past = today - stats::HALF_DAY * 2;
    let sql = "with m as (
            insert into regimen.stats_minutely (minute, accepted, succeeded, failed, expired,
                cancelled, counted, in_time, wait, generation, whole)
            select at + n * interval '11 hours', 5, 3, 1, 1, 0, 5, 2, '{}', '{}', '{}'
            from unnest($1::timestamptz[]) at, generate_series(0, 1) n)
        insert into regimen.stats_providers (minute, provider, calls, cost_micros, outcomes, latency)
        select at + n * interval '11 hours', provider, 2, 70, '{}', '{}'
        from unnest($1::timestamptz[]) at, generate_series(0, 1) n,
            unnest(array['openai', 'gemini']) provider";
    client.execute(sql, &[&vec![past, today]]).await.unwrap();
    let half_days = stats::HalfDays::default();
    let accepted = async || {
        let found = half_days.since(&client, past, now).await.unwrap();
        found.into_iter().map(|(at, half)| (at, half.counts.accepted)).collect::<Vec<_>>()
    };
    assert_eq!(accepted().await, [(past, 10), (today, 10)], "none where nothing was counted");
    let change = "update regimen.stats_minutely set accepted = accepted + 1";
    client.execute(change, &[]).await.unwrap();
    assert_eq!(accepted().await, [(past, 12), (today, 12)], "nothing is settled");
    let settle = "update regimen.stats_run set next_minute = now()";
    client.execute(settle, &[]).await.unwrap();
    assert_eq!(accepted().await, [(past, 12), (today, 12)]);
    client.execute(change, &[]).await.unwrap();
    assert_eq!(accepted().await, [(past, 12), (today, 14)], "the past was read");
    let days = half_days.spend_days(&client, past.date_naive(), now).await.unwrap();
    let of_past: Vec<_> = days.iter().filter(|one| one.day == past.date_naive()).collect();
    assert_eq!(
        of_past.iter().map(|one| one.provider.as_str()).collect::<Vec<_>>(),
        ["gemini", "openai"]
    );
    assert_eq!((of_past[0].cost_micros, of_past[0].plans), (140, 6));
}

#[tokio::test]
async fn a_search_finds_what_a_filter_says_window_by_window() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let user = Uuid::new_v4();
    let sql = "insert into regimen.jobs (id, user_id, generation_id, kind, class, input, state,
                   run_at, created_at, finished_at, expires_at, updated_at, provider, error_code,
                   worker_id, lease_expires_at)
               select ('018f0000-' || lpad(to_hex(n / 4096), 4, '0') || '-7' || lpad(to_hex(n % 4096), 3, '0')
                       || '-8000-000000000000')::uuid,
                   case when n % 5000 = 7 then $1::uuid else gen_random_uuid() end,
                   gen_random_uuid(), case n % 2 when 0 then 'meal' else 'workout' end,
                   case n % 3 when 0 then 'pro' else 'free' end, '{}', s.state, now(),
                   timestamptz '2024-01-01' + n * interval '1 s',
                   case when s.state in ('queued', 'running') then null else now() end, now(), now(),
                   case when n = 3 then 'rare' end, case s.state when 'failed' then 'refused' end,
                   case s.state when 'running' then 'w' end,
                   case s.state when 'running' then now() end
               from generate_series(1, 25000) n, lateral (select case n % 10 when 1 then 'failed'
                   when 2 then 'queued' when 3 then 'expired' else 'succeeded' end as state) s";
    client.execute(sql, &[&user]).await.unwrap();
    let running = "update regimen.jobs set state = 'running', worker_id = 'w',
                       lease_expires_at = now(), finished_at = null
                   where provider = 'rare' and state = 'expired'";
    client.execute(running, &[]).await.unwrap();
    let mut filters = vec![OperatorFilter::default()];
    for state in JobState::ALL {
        filters.push(OperatorFilter { state: Some(*state), ..OperatorFilter::default() });
    }
    filters.extend([
        OperatorFilter { kind: Some(PlanKind::Meal), ..OperatorFilter::default() },
        OperatorFilter { class: Some(JobClass::Pro), ..OperatorFilter::default() },
        OperatorFilter { provider: Some("rare".to_owned()), ..OperatorFilter::default() },
        OperatorFilter { reason: Some("refused".to_owned()), ..OperatorFilter::default() },
        OperatorFilter { user_id: Some(user), ..OperatorFilter::default() },
        OperatorFilter {
            user_id: Some(user),
            state: Some(JobState::Succeeded),
            ..OperatorFilter::default()
        },
    ]);
    for filter in filters {
        let text = |value: Option<&'static str>| value.map(str::to_owned);
        let sql = "select id from regimen.jobs where ($1::text is null or state = $1)
                       and ($2::text is null or kind = $2) and ($3::text is null or class = $3)
                       and ($4::text is null or provider = $4)
                       and ($5::text is null or error_code = $5)
                       and ($6::uuid is null or user_id = $6) order by id desc";
        let rows = client
            .query(
                sql,
                &[
                    &text(filter.state.map(JobState::as_str)),
                    &text(filter.kind.map(PlanKind::as_str)),
                    &text(filter.class.map(JobClass::as_str)),
                    &filter.provider,
                    &filter.reason,
                    &filter.user_id,
                ],
            )
            .await
            .unwrap();
        let expected: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        // Pages, each at most one window.
        let (mut found, mut place, mut pages) = (Vec::new(), filter.clone(), 0);
        loop {
            place.limit = 4_000;
            let page = jobs::search(&client, &place).await.unwrap();
            found.extend(page.jobs.iter().map(|job| job.row.id));
            let full = page.jobs.len() == 4_000;
            let last = if full { page.jobs.last().map(|job| job.row.id) } else { page.stopped_at };
            pages += 1;
            let Some(last) = last else { break };
            place.before = Some(last);
        }
        assert!(found == expected, "{filter:?}: {} of {}", found.len(), expected.len());
        assert!(pages <= 8, "{filter:?}: {pages}");
        let all = OperatorFilter { limit: 30_000, ..filter.clone() };
        assert_eq!(jobs::of_everybody(&client, &all).await.unwrap().len(), expected.len());
    }
    // A time is a place among the ids.
    let half: Uuid = "018f0000-0002-7000-8000-000000000000".parse().unwrap();
    let split = jobs::time_of(half);
    let count = async |filter: OperatorFilter| {
        let filter = OperatorFilter { limit: 30_000, ..filter };
        jobs::of_everybody(&client, &filter).await.unwrap().len()
    };
    let before = count(OperatorFilter { to: Some(split), ..OperatorFilter::default() }).await;
    let after = count(OperatorFilter { from: Some(split), ..OperatorFilter::default() }).await;
    assert_eq!((before, after), (8_191, 25_000 - 8_191));
    let of_user = OperatorFilter { user_id: Some(user), ..OperatorFilter::default() };
    assert_eq!(count(OperatorFilter { to: Some(split), ..of_user.clone() }).await, 2);
    assert_eq!(count(OperatorFilter { from: Some(split), ..of_user }).await, 3);
}
