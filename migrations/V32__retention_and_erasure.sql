-- What has been kept long enough goes, and so does what a deleted account leaves
-- behind: whose turn it is to remove it, how far that has come, and the indexes
-- that keep each look at it short.

-- Which of the fleet's workers removes what is over, and when that was last done.
create table regimen.retention (
    -- The one row there is.
    one boolean primary key default true check (one),
    -- Who is at it, and until when that counts without a sign of life.
    holder text,
    held_until timestamptz,
    started_at timestamptz,
    -- The start of the last run that came to its end.
    complete_at timestamptz,
    constraint held_by_somebody check ((holder is null) = (held_until is null))
);
insert into regimen.retention default values;

-- No policy: nobody but the service reads it.
alter table regimen.retention enable row level security;

alter table regimen.jobs add column kept smallint not null default 2;
comment on column regimen.jobs.kept is
    'What is still there beside the row: 2 its events, attempts and raw replies, 1 no raw '
    'replies, 0 none of them.';

-- Ended jobs of which more than the row is kept, oldest end first. On an expression,
-- so that a look at one level is led along no other index.
create index jobs_kept on regimen.jobs (kept, timezone('UTC', finished_at))
    where finished_at is not null and kept > 0;

create index admin_actions_at on regimen.admin_actions (at);
create index billing_notices_made on regimen.billing_notices (created_at);

-- What is a user's, or of their customers at Stripe: to erase it.
create index billing_notices_user on regimen.billing_notices (user_id);
create index generations_user on regimen.generations (user_id);
create index stripe_events_customer on regimen.stripe_events (customer_id)
    where customer_id is not null;

alter table regimen.deleted_accounts
    -- The next look at what the account left behind, once its jobs have ended.
    add column erase_at timestamptz not null default clock_timestamp(),
    -- Nothing is left of it but this row and sums without a name.
    add column erased_at timestamptz;
create index deleted_accounts_left on regimen.deleted_accounts (erase_at)
    where erased_at is null and jobs_ended_at is not null;

-- As in V23; an account deleted once more is erased once more.
create or replace function regimen.note_deleted_accounts() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    insert into regimen.deleted_accounts (user_id)
    select id from gone
    on conflict (user_id) do update set
        deleted_at = excluded.deleted_at, looked_at = excluded.looked_at, jobs_ended_at = null,
        erase_at = excluded.erase_at, erased_at = null;
    return null;
end
$$;

-- The app may also delete the user alone, where profiles do not go with them. On a
-- hosted database that table may not be ours to watch; then the app deletes the
-- profile, or calls DELETE /v1/account.
do $$
begin
    if to_regclass('auth.users') is null then
        return;
    end if;
    create trigger regimen_note_deleted_accounts after delete on auth.users
        referencing old table as gone
        for each statement execute function regimen.note_deleted_accounts();
exception when others then
    raise notice 'deletions of auth.users are not noticed: %', sqlerrm;
end
$$;
