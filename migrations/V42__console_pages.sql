-- What the console's pages about users, money, providers and settings show and do.

-- Users are found by the beginning of their e-mail address.
create index if not exists idx_profiles_email
    on public.profiles (lower(email::text) text_pattern_ops);

-- Generations that operators gave beyond the plan's, a row per user and month.
create table regimen.extra_generations (
    user_id uuid not null,
    month date not null,
    number integer not null check (number > 0),
    at timestamptz not null default now(),
    primary key (user_id, month)
);
create index extra_generations_month on regimen.extra_generations (month);

-- Revenue of each day (UTC), as it last was on that day.
create table regimen.revenue_days (
    day date primary key,
    -- When it was last begun to be counted.
    at timestamptz not null default now(),
    -- Monthly recurring revenue by currency, in its smallest unit: {"eur": 37970}; null
    -- until it was counted once.
    mrr jsonb,
    -- Shares; null of nobody.
    churn double precision,
    conversion double precision
);

-- Calls that operators have a worker make, to see whether a provider answers.
create table regimen.test_calls (
    id uuid primary key,
    provider text not null,
    model text not null,
    asked_by text not null,
    asked_at timestamptz not null default now(),
    -- The worker that makes the call.
    taken_by text,
    ended_at timestamptz,
    -- ok, the class of the failure, or expired.
    outcome text,
    took_ms bigint,
    input_tokens bigint,
    output_tokens bigint,
    cost_micros bigint,
    constraint ended_with_an_outcome check ((ended_at is null) = (outcome is null))
);
create index test_calls_asked on regimen.test_calls (asked_at);
-- One at a time.
create unique index test_calls_open on regimen.test_calls ((ended_at is null))
    where ended_at is null;

-- The settings of a worker, without secrets: [{"name", "source", "shown"}].
alter table regimen.workers add column settings jsonb;

-- US dollars for a million tokens, and where the price stands; why a provider is not
-- called: breaker or cool-down.
alter table regimen.models_in_use
    add column input_price double precision,
    add column cached_price double precision,
    add column output_price double precision,
    add column price_source text,
    add column blocked_by text;

-- No policy: nobody but the service reads them.
alter table regimen.extra_generations enable row level security;
alter table regimen.revenue_days enable row level security;
alter table regimen.test_calls enable row level security;
