-- Accounts the app has deleted: their open jobs are cancelled before a provider
-- is asked. One row a user, kept; it says nothing but the id and two times.

create table regimen.deleted_accounts (
    user_id uuid primary key,
    deleted_at timestamptz not null default clock_timestamp(),
    -- When a worker last looked for open jobs; the next look takes the oldest.
    looked_at timestamptz not null default clock_timestamp(),
    jobs_ended_at timestamptz
);
create index deleted_accounts_open on regimen.deleted_accounts (looked_at)
    where jobs_ended_at is null;

-- No policy: nobody but the service reads it.
alter table regimen.deleted_accounts enable row level security;

-- With the rights of its owner: whoever deletes a profile has none on our
-- tables. It only notes the deletion, so that it is quick and waits for no lock.
create function regimen.note_deleted_accounts() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    insert into regimen.deleted_accounts (user_id)
    select id from gone
    on conflict (user_id) do update set
        deleted_at = excluded.deleted_at, looked_at = excluded.looked_at, jobs_ended_at = null;
    return null;
end
$$;

create trigger regimen_note_deleted_accounts after delete on public.profiles
    referencing old table as gone
    for each statement execute function regimen.note_deleted_accounts();

-- Deleted before this migration, with jobs that still wait.
insert into regimen.deleted_accounts (user_id)
select distinct user_id from regimen.jobs
where state in ('queued', 'running')
  and not exists (select from public.profiles p where p.id = jobs.user_id);
