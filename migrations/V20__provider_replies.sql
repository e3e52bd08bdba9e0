-- What providers say is believed within bounds, and operators can set a
-- provider free.

-- The counts of the call, and so its cost, are an estimate: the provider gave
-- none, or such as cannot be.
alter table regimen.job_attempts add column estimated boolean not null default false;
alter table regimen.ai_usage add column estimated boolean not null default false;

-- How often an operator has lifted a provider's cool-downs and breakers. Each
-- number has its own in Redis, so that a lift reaches every worker whatever
-- stands there.
create table regimen.provider_lifts (
    provider text primary key,
    lifts bigint not null,
    lifted_by text not null,
    lifted_at timestamptz not null default now()
);

-- No policy: nobody but the service reads it.
alter table regimen.provider_lifts enable row level security;
