-- What of a user runs is counted along the index of the user's places, whatever
-- the planner believes: a plan made while the table was one page would read
-- every running job of the fleet, and each session keeps its plan. Only that
-- index gives the order asked for, and nothing may be sorted.

create or replace function regimen.running_in_turn(of_user uuid) returns bigint
language plpgsql volatile
set enable_sort = off set enable_bitmapscan = off set enable_seqscan = off as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'jobs are claimed under read committed, not %',
            current_setting('transaction_isolation')
            using hint = 'A pooler in transaction mode loses the setting: set '
                'default_transaction_isolation to read committed for the role of the service.';
    end if;
    perform pg_advisory_xact_lock(4711, hashtext(of_user::text));
    return (
        select count(*) filter (where state = 'running') from (
            select state from regimen.jobs
            where user_id = of_user
              and (state = 'running' or (state = 'queued' and dispatched_at is not null))
            order by dispatched_at
        ) places);
end
$$;
