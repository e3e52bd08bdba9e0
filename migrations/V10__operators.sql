-- What operators do and see: pauses, retries of ended jobs, a record of who
-- did what, and the prices that revenue is counted with.

-- A row pauses; no row, no pause. Claims look here, so Redis cannot forget it.
create table regimen.pauses (
    what text not null check (what in ('queue', 'provider')),
    name text not null,
    paused_by text not null,
    paused_at timestamptz not null default now(),
    primary key (what, name)
);

-- Ended jobs never change: an operator's retry is a new job. One each, so that
-- asking twice finds the first one.
create table regimen.job_retries (
    job_id uuid primary key references regimen.jobs (id) on delete cascade,
    retried_as uuid not null unique references regimen.jobs (id) on delete cascade,
    retried_by text not null,
    at timestamptz not null default now()
);

-- Jobs that ended without a plan, newest first: ids are in the order of time.
create index jobs_dead on regimen.jobs (id desc) where state in ('failed', 'expired', 'cancelled');

-- Written before something is changed elsewhere, completed after it: a row
-- without an outcome was cut short, and may have taken effect.
create table regimen.admin_actions (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    actor text not null,
    action text not null,
    target text not null,
    detail jsonb not null default '{}',
    outcome text
);

-- Amount, currency and interval of a Stripe price never change, so a price is
-- fetched once. No amount: it has tiers or is metered.
create table regimen.prices (
    id text primary key,
    currency text not null,
    unit_amount bigint,
    period text check (period in ('day', 'week', 'month', 'year')),
    period_count integer not null default 1 check (period_count > 0),
    fetched_at timestamptz not null default now()
);

alter table regimen.pauses enable row level security;
alter table regimen.job_retries enable row level security;
alter table regimen.admin_actions enable row level security;
alter table regimen.prices enable row level security;
