-- The look for Stripe events that were never delivered: one run at a time over
-- the whole fleet, and no worker's start repeats one that is not due.

create table regimen.stripe_backfill (
    -- The one row there is.
    one boolean primary key default true check (one),
    -- Who is at it, and until when that counts without a sign of life.
    holder text,
    held_until timestamptz,
    started_at timestamptz,
    -- The start of the last run that came to its end: what it looked at is older.
    complete_at timestamptz,
    -- Runs that failed since, and before when the next one is not due.
    failures integer not null default 0,
    retry_at timestamptz,
    error_code text,
    error_detail text,
    -- What the last complete run looked at, and what had been missing.
    looked_at bigint,
    recovered bigint,
    constraint held_by_somebody check ((holder is null) = (held_until is null))
);
insert into regimen.stripe_backfill default values;

alter table regimen.stripe_backfill enable row level security;
