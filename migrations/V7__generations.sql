-- The monthly generations of a user's plan: one row a generation, however many
-- jobs it has. A generation that failed for our reasons no longer counts.

create table regimen.generations (
    -- As in regimen.jobs.generation_id; outlives the jobs.
    id uuid primary key,
    user_id uuid not null,
    at timestamptz not null default now(),
    given_back_at timestamptz
);
create index generations_counted on regimen.generations (user_id, at) where given_back_at is null;

alter table regimen.generations enable row level security;
create policy own_generations on regimen.generations for select
    using (user_id = (select auth.uid()));

do $$
begin
    if exists (select from pg_roles where rolname = 'authenticated') then
        grant select on regimen.generations to authenticated;
    end if;
end
$$;

-- A trigger, so that no way a job can end is forgotten: its holder gives up,
-- its workers were lost, nobody started it. What a provider refuses to write
-- is the user's wish, not our failure, and a cancelled job is their decision.
create function regimen.give_generation_back() returns trigger
language plpgsql as $$
begin
    update regimen.generations set given_back_at = now()
    where id = new.generation_id and given_back_at is null;
    return null;
end
$$;

create trigger give_generation_back after update of state on regimen.jobs
    for each row
    when (old.state is distinct from new.state and (
        new.state = 'expired'
        or (new.state = 'failed' and new.error_code is distinct from 'refused')))
    execute function regimen.give_generation_back();
