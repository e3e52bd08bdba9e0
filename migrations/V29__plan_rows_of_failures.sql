-- What the app reads of plans directly: a row for each generation that failed,
-- as the replaced service left one, and a way to a user's rows.

-- /plan-status and the app's history ask for all rows of a user. Where the app has
-- an index that begins with the user, of all rows, that one serves.
do $$
declare
    app_table text;
begin
    foreach app_table in array array['ai_meal_plans', 'ai_workout_plans'] loop
        if not exists (
            select from pg_index i
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = format('public.%I', app_table)::regclass
                and i.indpred is null and i.indisvalid and a.attname = 'user_id'
        ) then
            execute format('create index %I on public.%I (user_id)', 'idx_' || app_table || '_user',
                app_table);
        end if;
    end loop;
end
$$;

-- A trigger, so that no way a job can fail is forgotten. The row that waits for
-- the quiz becomes the failed one, else one is added; a plan that is there stays.
-- Time to fail is generated_at - created_at. What the app's table refuses is no
-- reason to keep the job from ending.
create function regimen.note_failed_plan() returns trigger
language plpgsql as $$
declare
    app_table text := case new.kind when 'meal' then 'ai_meal_plans' else 'ai_workout_plans' end;
    beside text := case new.kind when 'meal' then '' else ', workout_type, duration_per_session' end;
    nothing text := case new.kind when 'meal' then '' else ', '''', ''''' end;
    message text := coalesce(new.error_detail, 'the plan could not be started in time');
    noted bigint;
begin
    begin
        execute format(
            'update public.%1$I set status = ''failed'', error_message = $3, generated_at = $4,
                 is_active = false
             where id = (
                 select id from public.%1$I
                 where user_id = $1 and quiz_result_id = $2 and plan_data is null
                     and status = ''generating''
                 order by created_at desc nulls last limit 1 for update)', app_table)
        using new.user_id, new.quiz_result_id, message,
            coalesce(new.first_claimed_at, new.created_at);
        get diagnostics noted = row_count;
        if noted = 0 then
            execute format(
                'insert into public.%I (user_id, quiz_result_id, status, error_message, is_active,
                     created_at, generated_at, updated_at%s)
                 select $1, (select id from public.quiz_results where id = $2 and user_id = $1),
                     ''failed'', $3, false, $5, $4, now()%s
                 where exists (select from public.profiles where id = $1)
                 on conflict do nothing', app_table, beside, nothing)
            using new.user_id, new.quiz_result_id, message,
                coalesce(new.first_claimed_at, new.created_at), new.created_at;
        end if;
    exception when others then
        raise warning 'no row for the failed % plan of job %: %', new.kind, new.id, sqlerrm;
    end;
    return null;
end
$$;

create trigger note_failed_plan after update of state on regimen.jobs
    for each row
    when (old.state is distinct from new.state and new.state in ('failed', 'expired'))
    execute function regimen.note_failed_plan();
