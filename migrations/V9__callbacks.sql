-- What is owed to the callback addresses of jobs: one row a job, so that the
-- message of its end has one id however often it is sent.

create table regimen.callbacks (
    -- Also the id of the message (header webhook-id: msg_<job>).
    job_id uuid primary key references regimen.jobs (id) on delete cascade,
    user_id uuid not null,
    url text not null,
    -- Host and port of the address: what one host owes us must not hold up others.
    host text not null,
    state text not null default 'waiting' check (state in ('waiting', 'delivered', 'gone', 'dead')),
    -- Claims so far; the number of the latest one is its holder's proof.
    attempts integer not null default 0,
    -- Rises with every change.
    revision integer not null default 1,
    -- Not before this time: a further try, the end of a claim.
    run_at timestamptz not null default now(),
    http_status integer,
    error text,
    created_at timestamptz not null default now(),
    settled_at timestamptz,
    constraint waiting_or_settled check ((state = 'waiting') = (settled_at is null))
) with (fillfactor = 80);

-- Host by host, oldest first.
create index callbacks_waiting on regimen.callbacks (host, run_at) where state = 'waiting';

alter table regimen.callbacks enable row level security;
create policy own_callbacks on regimen.callbacks for select
    using (user_id = (select auth.uid()));

do $$
begin
    if exists (select from pg_roles where rolname = 'authenticated') then
        grant select on regimen.callbacks to authenticated;
    end if;
end
$$;

-- A trigger, so that the row is written with the end itself, and that no way a
-- job can end is forgotten: its holder saves or gives up, its workers were
-- lost, nobody started it, somebody cancelled it.
create function regimen.owe_callback() returns trigger
language plpgsql as $$
begin
    insert into regimen.callbacks (job_id, user_id, url, host)
    values (new.id, new.user_id, new.callback_url,
        lower(coalesce(substring(new.callback_url from '^[A-Za-z]+://([^/?#]*)'), '')))
    on conflict (job_id) do nothing;
    return null;
end
$$;

create trigger owe_callback after update of state on regimen.jobs
    for each row
    when (old.state is distinct from new.state
        and new.callback_url is not null
        and new.state in ('succeeded', 'failed', 'cancelled', 'expired'))
    execute function regimen.owe_callback();
