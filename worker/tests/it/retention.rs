//! What has been kept for its time is removed by one of the workers, and nothing else.

use uuid::Uuid;

use crate::fleet::Fleet;

/// Jobs that ended so many days ago, each with an event, an attempt and its reply; a
/// kept answer, an event of Stripe's, a notice and an action of the same age.
async fn aged(fleet: &Fleet, days: u32, count: u32) {
    let user = Uuid::new_v4();
    let sql = format!(
        "with jobs as (
             insert into regimen.jobs (id, user_id, generation_id, kind, class, input, state,
                 run_at, created_at, expires_at, updated_at, finished_at)
             select gen_random_uuid(), '{user}', gen_random_uuid(), 'meal', 'free', '{{}}',
                 'succeeded', now(), now(), now(), now(),
                 now() - interval '{days} days' - n * interval '1 ms'
             from generate_series(1, {count}) n returning id
         ), events as (
             insert into regimen.job_events (job_id, seq, at, kind)
             select id, 1, now(), 'accepted' from jobs
         )
         insert into regimen.job_attempts (id, job_id, user_id, fence, n, provider, model,
             prompt_version, started_at, raw_reply)
         select gen_random_uuid(), id, '{user}', 1, 1, 'openai', 'm', '1', now(), 'reply' from jobs;
         insert into regimen.idempotency_keys
         select '{user}', 'key ' || n, '', 202, '{{}}', now(),
             now() - interval '{days} days' + interval '1 day' - interval '1 s'
         from generate_series(1, {count}) n;
         insert into regimen.stripe_events (id, type, payload, source, state, settled_at, received_at,
             run_at)
         select 'evt_{days}_' || n, 't', '{{}}', 'webhook',
             case n when 1 then 'received' else 'dead' end, case when n > 1 then now() end,
             now() - interval '{days} days' - n * interval '1 ms', now() + interval '1 day'
         from generate_series(1, {count}) n;
         insert into regimen.billing_notices (event_id, kind, user_id, mail_state, created_at, run_at)
         select 'evt_{days}_' || n, 'payment_failed', '{user}',
             case n when 1 then 'waiting' else 'off' end,
             now() - interval '{days} days' - n * interval '1 ms', now() + interval '1 day'
         from generate_series(1, {count}) n;
         insert into regimen.generations (id, user_id, at)
         select (rpad(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0'), 20, '7')
                 || lpad(to_hex(n), 12, '0'))::uuid, '{user}', at
         from (select n, now() - interval '{days} days' - n * interval '1 ms' as at
               from generate_series(1, {count}) n) made;
         insert into regimen.admin_actions (at, actor, action, target)
         select now() - interval '{days} days' - n * interval '1 ms', 'ana', 'pause', 'queue:pro'
         from generate_series(1, {count}) n"
    );
    fleet.db().await.batch_execute(&sql).await.unwrap();
}

const LEFT: [&str; 9] = [
    "regimen.jobs",
    "regimen.job_events",
    "regimen.job_attempts",
    "(select from regimen.job_attempts where raw_reply is not null) a",
    "regimen.idempotency_keys",
    "regimen.stripe_events",
    "regimen.billing_notices",
    "regimen.admin_actions",
    "regimen.generations",
];

async fn left(fleet: &Fleet) -> Vec<i64> {
    let mut left = Vec::new();
    for table in LEFT {
        left.push(fleet.count(&format!("select count(*) from {table}")).await);
    }
    left
}

#[tokio::test]
async fn each_goes_after_its_time_and_what_is_owed_or_open_stays() {
    let fleet = Fleet::new(&[("RETENTION_SECONDS", "0.001")]).await;
    for days in [0, 8, 31, 91, 401] {
        aged(&fleet, days, 450).await;
    }
    // The oldest of all owe a callback: they stay, and hold up nothing behind them.
    let owed = "insert into regimen.callbacks (job_id, user_id, url, host, run_at)
        select id, user_id, 'https://example.test', 'example.test', now() + interval '1 day'
        from regimen.jobs order by finished_at limit 210";
    fleet.db().await.batch_execute(owed).await.unwrap();
    let [one, two] = [fleet.worker().await, fleet.worker().await];
    // Jobs of three ages and those that owe; events of two ages, replies of one. Of the
    // rest those that are young or open: one event and notice of each age.
    let expected =
        vec![3 * 450 + 210, 900, 900, 450, 450, 3 * 450 + 2, 3 * 450 + 2, 4 * 450, 3 * 450];
    let deadline = tokio::time::Instant::now() + crate::fleet::PATIENCE;
    while left(&fleet).await != expected {
        let now = left(&fleet).await;
        assert!(tokio::time::Instant::now() < deadline, "{now:?} instead of {expected:?}");
    }
    // Another whole run changes nothing.
    let run =
        "select coalesce(extract(epoch from complete_at) * 1e6, 0)::bigint from regimen.retention";
    let before = fleet.count(run).await;
    while fleet.count(run).await <= before {
        assert!(tokio::time::Instant::now() < deadline, "no other run");
    }
    assert_eq!(left(&fleet).await, expected);
    let mut removed = 0.0;
    for worker in [&one, &two] {
        let text = fleet.metrics(worker).await;
        let name = "regimen_retention_removed_total{what=\"jobs\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        removed += line.parse::<f64>().unwrap();
    }
    assert_eq!(removed, 690.0, "each job was removed once");
    fleet.until_metric(&one, "regimen_retention_age_seconds", 0.0).await;
    let told = "update regimen.callbacks set state = 'dead', settled_at = now()";
    fleet.db().await.batch_execute(told).await.unwrap();
    fleet.until_count("select count(*) from regimen.jobs", 3 * 450).await;
}

#[tokio::test]
async fn what_is_kept_for_ever_stays() {
    let fleet = Fleet::new(&[
        ("RETENTION_SECONDS", "0.001"),
        ("KEEP_RAW_REPLIES_DAYS", "0"),
        ("KEEP_EVENTS_DAYS", "0"),
        ("KEEP_JOBS_DAYS", "0"),
        ("KEEP_ANSWERS_HOURS", "0"),
        ("KEEP_WEBHOOKS_DAYS", "0"),
        ("KEEP_NOTICES_DAYS", "0"),
        ("KEEP_AUDIT_DAYS", "0"),
    ])
    .await;
    aged(&fleet, 5_000, 3).await;
    let _worker = fleet.worker().await;
    let run = "select count(*) from regimen.retention where complete_at is not null";
    fleet.until_count(run, 1).await;
    assert_eq!(left(&fleet).await, [3; 9]);
}

/// Replies that are kept for longer than events go with them; a row that cannot be
/// removed stays alone.
#[tokio::test]
async fn one_row_that_cannot_go_holds_up_no_other() {
    let fleet = Fleet::new(&[("RETENTION_SECONDS", "0.001"), ("KEEP_RAW_REPLIES_DAYS", "0")]).await;
    aged(&fleet, 200, 10).await;
    let poison = "create function regimen.refuse() returns trigger language plpgsql as
            $$ begin raise exception 'poison'; end $$;
        do $$ begin execute format('create trigger a_refuse before delete on regimen.jobs
            for each row when (old.id = %L) execute function regimen.refuse()',
            (select id from regimen.jobs order by finished_at limit 1)); end $$";
    fleet.db().await.batch_execute(poison).await.unwrap();
    let worker = fleet.worker().await;
    fleet.until_count("select count(*) from regimen.jobs", 1).await;
    fleet.until_count("select count(*) from regimen.job_attempts", 0).await;
    fleet.until_metric(&worker, "regimen_rows_set_aside{step=\"retention\"}", 1.0).await;
}
