-- Users reach only their own rows, whichever way they come to the database.
-- Supabase brings the schema auth and the roles; plain Postgres gets stand-ins
-- that read the same setting, request.jwt.claims.

do $$
begin
    if to_regnamespace('auth') is null then
        create schema auth;
        create function auth.uid() returns uuid language sql stable as $uid$
            select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
        $uid$;
        comment on schema auth is 'Created by Regimen: stands in for Supabase auth';
    elsif to_regprocedure('auth.uid()') is null then
        raise exception 'schema auth exists but has no function auth.uid()'
            using hint = 'Create auth.uid() returning the uuid of the current user, then migrate again.';
    end if;
end
$$;

-- Roles belong to the whole server: another database may be creating them too,
-- and a hosted server may not permit it. Everything below works without them.
do $$
declare
    role_name text;
begin
    foreach role_name in array array['authenticated', 'anon'] loop
        if not exists (select from pg_roles where rolname = role_name) then
            begin
                execute format('create role %I nologin', role_name);
            exception
                when duplicate_object or unique_violation then
                    null;
                when insufficient_privilege then
                    raise notice 'role % is missing and may not be created; users cannot be given direct access', role_name;
            end;
        end if;
        if obj_description(to_regnamespace('auth'), 'pg_namespace') like 'Created by Regimen%'
            and exists (select from pg_roles where rolname = role_name) then
            execute format('grant usage on schema auth to %I', role_name);
        end if;
    end loop;
end
$$;

-- A table that has any policy already is the app's to decide about.
create function pg_temp.secure(app_table text, policy text, command text, condition text) returns void
language plpgsql as $$
declare
    target regclass := format('public.%I', app_table)::regclass;
begin
    if not (select relrowsecurity from pg_class where oid = target) then
        execute format('alter table %s enable row level security', target);
    end if;
    if not exists (select from pg_policy where polrelid = target) then
        execute format('create policy %I on %s for %s using (%s)', policy, target, command, condition);
    end if;
end
$$;

do $$
declare
    app_table text;
begin
    perform pg_temp.secure('profiles', 'own_rows', 'all', 'id = (select auth.uid())');
    perform pg_temp.secure('notifications', 'own_rows', 'all', 'recipient_id = (select auth.uid())');
    foreach app_table in array array[
        'quiz_results', 'ai_meal_plans', 'ai_workout_plans', 'challenge_participants',
        'workout_logs', 'daily_nutrition_logs', 'daily_water_intake'
    ] loop
        perform pg_temp.secure(app_table, 'own_rows', 'all', 'user_id = (select auth.uid())');
    end loop;
    -- Catalogues everybody may read and nobody writes.
    perform pg_temp.secure('plans', 'readable', 'select', 'true');
    perform pg_temp.secure('challenges', 'readable', 'select', 'true');
end
$$;

drop function pg_temp.secure(text, text, text, text);

-- Rights on the tables that V1 made. A hosted server may have granted more by
-- default, so these start from nothing. A user must not make themselves pro:
-- plan, counter and customer id of a profile are written by the service alone.
do $$
declare
    app_table text;
begin
    if not exists (select from pg_roles where rolname = 'authenticated') then
        return;
    end if;
    for app_table in
        select relname from pg_class
        where relnamespace = 'public'::regnamespace and relkind = 'r'
            and obj_description(oid, 'pg_class') = 'Created by Regimen'
    loop
        execute format('revoke all on public.%I from authenticated', app_table);
        if exists (select from pg_roles where rolname = 'anon') then
            execute format('revoke all on public.%I from anon', app_table);
        end if;
        execute format('grant select on public.%I to authenticated', app_table);
        if app_table = 'profiles' then
            grant delete,
                insert (id, email, full_name, avatar_url, username, age, date_of_birth, gender,
                    country, height_cm, weight_kg, occupation_activity, unit_system,
                    onboarding_completed),
                update (email, full_name, avatar_url, username, age, date_of_birth, gender,
                    country, height_cm, weight_kg, occupation_activity, unit_system,
                    onboarding_completed)
            on public.profiles to authenticated;
        elsif app_table not in ('plans', 'challenges') then
            execute format('grant insert, update, delete on public.%I to authenticated', app_table);
        end if;
    end loop;
end
$$;
