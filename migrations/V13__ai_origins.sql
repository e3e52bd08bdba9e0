-- Where plans come from: which provider, model and prompt text wrote each, and
-- which models the workers are set to ask, with their ends of life.

-- One row a plan; outlives the job.
create table regimen.plan_origins (
    plan_id uuid primary key,
    job_id uuid not null,
    user_id uuid not null,
    provider text not null,
    model text not null,
    prompt_version text not null,
    at timestamptz not null
);
create index plan_origins_user on regimen.plan_origins (user_id);

alter table regimen.plan_origins enable row level security;
create policy own_plan_origins on regimen.plan_origins for select
    using (user_id = (select auth.uid()));

-- Written by every worker at its start and again and again; a row that is not
-- renewed is a worker that is gone. The ingress warns from it.
create table regimen.models_in_use (
    worker_id text not null,
    provider text not null,
    model text not null,
    -- The day it stops answering, the first day of the warning, and what is
    -- asked in its place from then on; null where no end is announced.
    retires_on date,
    warn_from date,
    successor text,
    seen_at timestamptz not null,
    primary key (worker_id, provider)
);
create index models_in_use_seen on regimen.models_in_use (seen_at);

-- No policy: nobody but the service reads it.
alter table regimen.models_in_use enable row level security;

do $$
begin
    if exists (select from pg_roles where rolname = 'authenticated') then
        grant select on regimen.plan_origins to authenticated;
    end if;
end
$$;
