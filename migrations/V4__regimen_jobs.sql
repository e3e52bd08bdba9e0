-- The life of plan jobs: the one truth about what was accepted, who holds it
-- and how it ended. Redis only points at rows of this table.

create schema if not exists regimen;

-- Every claim takes the next value, so a fence never repeats and only rises.
create sequence regimen.fence_seq as bigint;

create table regimen.jobs (
    id uuid primary key,
    user_id uuid not null,
    -- The jobs of one request share a generation: it is counted once.
    generation_id uuid not null,
    kind text not null check (kind in ('meal', 'workout')),
    class text not null check (class in ('pro', 'free')),
    state text not null default 'queued'
        check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')),
    stage text not null default 'queued',
    quiz_result_id uuid,
    -- What the worker needs: {answers, nutrition, provider?, model?}.
    input jsonb not null,
    callback_url text,
    trace_context text,

    attempts integer not null default 0,
    -- The latest claim was handed back by a drain: the next one is not counted again.
    drained boolean not null default false,
    lost integer not null default 0,
    rounds integer not null default 0,
    fence bigint not null default 0,
    worker_id text,
    lease_expires_at timestamptz,

    -- Not before this time (retry rounds, budget).
    run_at timestamptz not null,
    -- Set while the id stands in Redis; null while it waits here for its user's turn.
    dispatched_at timestamptz,
    created_at timestamptz not null,
    first_claimed_at timestamptz,
    deadline_at timestamptz,
    expires_at timestamptz not null,
    updated_at timestamptz not null,
    finished_at timestamptz,

    last_seq integer not null default 0,
    provider text,
    model text,
    cost_micros bigint not null default 0,
    plan_id uuid,
    error_code text,
    error_detail text,

    constraint running_is_held check
        ((state = 'running') = (worker_id is not null and lease_expires_at is not null)),
    constraint terminal_is_finished check
        ((state in ('succeeded', 'failed', 'cancelled', 'expired')) = (finished_at is not null))
) with (fillfactor = 80);

-- Claimable jobs of a class, oldest first (dispatch, direct claims, queue age).
create index jobs_queued on regimen.jobs (class, run_at, created_at) where state = 'queued';
-- What of a user runs or stands in Redis: the running cap and the dispatch window.
create index jobs_user_standing on regimen.jobs (user_id)
    where state = 'running' or (state = 'queued' and dispatched_at is not null);
-- What of a user waits here for its turn, oldest first.
create index jobs_user_waiting on regimen.jobs (user_id, created_at, id)
    where state = 'queued' and dispatched_at is null;
-- What stands in Redis, by the time it was put there: lost messages.
create index jobs_dispatched on regimen.jobs (class, dispatched_at)
    where state = 'queued' and dispatched_at is not null;
-- Leases that may have run out.
create index jobs_leases on regimen.jobs (lease_expires_at) where state = 'running';
-- Overdue jobs nobody started.
create index jobs_expiry on regimen.jobs (expires_at) where state = 'queued' and first_claimed_at is null;
-- A user's own list, newest first, keyset by (created_at, id).
create index jobs_user_newest on regimen.jobs (user_id, created_at desc, id desc);
-- Retention.
create index jobs_finished on regimen.jobs (finished_at) where finished_at is not null;

create table regimen.job_events (
    job_id uuid not null references regimen.jobs (id) on delete cascade,
    -- 1, 2, 3 … per job, without gaps; the id of the server-sent event.
    seq integer not null,
    at timestamptz not null,
    kind text not null,
    data jsonb not null default '{}',
    primary key (job_id, seq)
);

-- One row per call to a provider. The raw reply is stored before it is parsed,
-- so that a crash after the reply resumes from it instead of paying again.
create table regimen.job_attempts (
    id uuid primary key,
    job_id uuid not null references regimen.jobs (id) on delete cascade,
    user_id uuid not null,
    fence bigint not null,
    -- 1, 2, 3 … over the whole life of the job.
    n integer not null,
    provider text not null,
    model text not null,
    prompt_version text not null,
    started_at timestamptz not null,
    finished_at timestamptz,
    -- ok, or the failure class.
    outcome text,
    http_status integer,
    request_id text,
    raw_reply text,
    error_detail text,
    input_tokens bigint not null default 0,
    cached_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    cost_micros bigint not null default 0,
    unique (job_id, n)
);

-- The ledger of spend, kept when jobs are pruned.
create table regimen.ai_usage (
    attempt_id uuid primary key,
    job_id uuid not null,
    user_id uuid not null,
    at timestamptz not null,
    provider text not null,
    model text not null,
    input_tokens bigint not null,
    cached_tokens bigint not null,
    output_tokens bigint not null,
    cost_micros bigint not null
);
create index ai_usage_user_at on regimen.ai_usage (user_id, at);
create index ai_usage_at on regimen.ai_usage (at);

-- Same key and body, same answer; kept 24 h, scoped to the user.
create table regimen.idempotency_keys (
    user_id uuid not null,
    key text not null,
    body_hash bytea not null,
    -- The answer as it was sent.
    status integer not null,
    -- json, not jsonb: the answer is given again as it was, order included.
    response json not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (user_id, key)
);
create index idempotency_keys_expiry on regimen.idempotency_keys (expires_at);

-- Own rows only, for readers that are not the service itself.
alter table regimen.jobs enable row level security;
alter table regimen.job_events enable row level security;
alter table regimen.job_attempts enable row level security;
alter table regimen.ai_usage enable row level security;
alter table regimen.idempotency_keys enable row level security;

create policy own_jobs on regimen.jobs for select using (user_id = (select auth.uid()));
create policy own_job_events on regimen.job_events for select using (
    exists (select 1 from regimen.jobs j where j.id = job_id and j.user_id = (select auth.uid()))
);
create policy own_usage on regimen.ai_usage for select using (user_id = (select auth.uid()));
