-- What the console's charts show: one row per minute, kept by the workers. A minute is
-- counted from what ended in it, so that a chart reads rows of minutes and not of jobs.

create table regimen.stats_minutely (
    minute timestamptz primary key,
    accepted bigint not null,
    succeeded bigint not null,
    failed bigint not null,
    expired bigint not null,
    cancelled bigint not null,
    -- Of the objective: jobs that ended, except cancelled ones and those that providers
    -- refused to write; and the plans among them saved within 60 s.
    counted bigint not null,
    in_time bigint not null,
    -- How long plans took, by the number of a bucket: {"12": 3}.
    wait jsonb not null,
    generation jsonb not null,
    whole jsonb not null
);

-- Calls of the jobs that ended in the minute.
create table regimen.stats_providers (
    minute timestamptz not null,
    provider text not null,
    calls bigint not null,
    cost_micros bigint not null,
    -- By outcome: {"ok": 3, "timeout": 1}.
    outcomes jsonb not null,
    latency jsonb not null,
    primary key (minute, provider)
);

-- The one worker that counts now, and the first minute that may still change.
create table regimen.stats_run (
    id boolean primary key default true check (id),
    holder text,
    held_until timestamptz,
    next_minute timestamptz
);
insert into regimen.stats_run (id) values (true);

-- No policy: nobody but the service reads them.
alter table regimen.stats_minutely enable row level security;
alter table regimen.stats_providers enable row level security;
alter table regimen.stats_run enable row level security;
