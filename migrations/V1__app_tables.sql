-- The app's own tables, for a database that has none of them yet. Where the
-- app already lives they exist, and nothing here touches them: a table, a row
-- or a trigger is added only where it is missing.

create schema if not exists regimen;

-- Which tables were there before us; decides below which ones we mark as ours.
create temporary table found_tables on commit drop as
    select relname from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p');

create table if not exists public.plans (
    id text primary key,
    name text not null,
    price_cents integer,
    currency text default 'USD',
    is_active boolean default true,
    monthly_ai_generations integer not null,
    description text
);

insert into public.plans (id, name, price_cents, monthly_ai_generations, description)
values
    ('free', 'Free', 0, 10, 'Meal and workout plans to get started'),
    ('pro', 'Pro', 999, 100, 'More plans, served first')
on conflict (id) do nothing;

create table if not exists public.profiles (
    id uuid primary key,
    email text not null,
    full_name text,
    avatar_url text,
    username text,
    age integer,
    date_of_birth date,
    gender text,
    country text,
    height_cm double precision,
    weight_kg double precision,
    occupation_activity text,
    unit_system text default 'metric',
    onboarding_completed boolean default false,
    plan_id text default 'free' references public.plans (id),
    plan_renewal_date date,
    ai_gen_quiz_count integer default 0,
    stripe_customer_id text,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table if not exists public.quiz_results (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references public.profiles (id) on delete cascade,
    answers jsonb not null,
    calculations jsonb,
    created_at timestamptz default now()
);

create table if not exists public.ai_meal_plans (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references public.profiles (id) on delete cascade,
    quiz_result_id uuid references public.quiz_results (id) on delete set null,
    plan_data jsonb,
    daily_calories integer default 0,
    preferences text default '',
    restrictions text default '',
    generated_at timestamptz default now(),
    is_active boolean default true,
    status varchar default 'generating',
    error_message text,
    created_at timestamptz default now(),
    updated_at timestamp default now()
);

create table if not exists public.ai_workout_plans (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references public.profiles (id) on delete cascade,
    quiz_result_id uuid references public.quiz_results (id) on delete set null,
    plan_data jsonb,
    workout_type text not null,
    duration_per_session text not null,
    frequency_per_week integer default 0,
    generated_at timestamptz default now(),
    is_active boolean default true,
    status varchar default 'generating',
    error_message text,
    created_at timestamptz default now(),
    updated_at timestamp default now()
);

create table if not exists public.notifications (
    id uuid primary key default gen_random_uuid(),
    recipient_id uuid references public.profiles (id) on delete cascade,
    sender_id uuid references public.profiles (id) on delete set null,
    type text,
    entity_id uuid not null,
    entity_type text,
    message text,
    read boolean default false,
    created_at timestamptz default now()
);

create table if not exists public.challenges (
    id uuid primary key default gen_random_uuid(),
    title text,
    description text,
    type text,
    difficulty text not null,
    points integer not null,
    requirements jsonb not null,
    created_at timestamptz default now()
);

create table if not exists public.challenge_participants (
    id uuid primary key default gen_random_uuid(),
    challenge_id uuid references public.challenges (id) on delete cascade,
    user_id uuid references public.profiles (id) on delete cascade,
    progress jsonb,
    completed boolean default false,
    completion_date timestamptz,
    streak_count integer default 0,
    last_progress_date timestamptz,
    streak_expires_at timestamptz,
    streak_warning_sent boolean default false,
    created_at timestamptz default now(),
    unique (challenge_id, user_id)
);

create table if not exists public.workout_logs (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references public.profiles (id) on delete cascade,
    workout_date date not null default current_date,
    workout_type text not null,
    exercises jsonb,
    duration_minutes integer,
    calories_burned integer,
    notes text,
    completed boolean default false,
    created_at timestamptz default now()
);

create table if not exists public.daily_nutrition_logs (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references public.profiles (id) on delete cascade,
    log_date date not null default current_date,
    meal_type text not null,
    food_items jsonb,
    total_calories integer,
    total_protein numeric,
    total_carbs numeric,
    total_fats numeric,
    notes text,
    created_at timestamptz default now()
);

create table if not exists public.daily_water_intake (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references public.profiles (id) on delete cascade,
    log_date date not null default current_date,
    glasses integer default 0,
    total_ml integer default 0,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

-- Later migrations grant rights only on tables that carry this mark; those
-- the app brought keep the rights its operator gave.
do $$
declare
    app_table text;
begin
    foreach app_table in array array[
        'plans', 'profiles', 'quiz_results', 'ai_meal_plans', 'ai_workout_plans',
        'notifications', 'challenges', 'challenge_participants', 'workout_logs',
        'daily_nutrition_logs', 'daily_water_intake'
    ] loop
        if not exists (select from found_tables where relname = app_table) then
            execute format('comment on table public.%I is %L', app_table, 'Created by Regimen');
        end if;
    end loop;
end
$$;

-- The functions live in our schema: one of the app's with the same name stays.

-- A user has one active plan of a kind: the one made active last.
create function regimen.deactivate_other_plans() returns trigger
language plpgsql set search_path = '' as $$
begin
    execute format(
        'update %I.%I set is_active = false where user_id = $1 and id <> $2 and is_active',
        tg_table_schema, tg_table_name
    ) using new.user_id, new.id;
    return null;
end
$$;

-- A quiz uses up one generation of the owner's plan. Runs with the rights of
-- its owner, because users may not write their own counter.
create function regimen.count_quiz() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    used integer;
    allowed integer;
begin
    select coalesce(profile.ai_gen_quiz_count, 0), plan.monthly_ai_generations
    into used, allowed
    from public.profiles profile
    join public.plans plan on plan.id = coalesce(profile.plan_id, 'free')
    where profile.id = new.user_id
    for no key update of profile;

    if used >= allowed then
        raise exception 'the plan allows % generations and all are used', allowed
            using errcode = 'check_violation';
    end if;
    update public.profiles set ai_gen_quiz_count = used + 1 where id = new.user_id;
    return new;
end
$$;

create function regimen.touch_updated_at() returns trigger
language plpgsql set search_path = '' as $$
begin
    new.updated_at := now();
    return new;
end
$$;

-- A trigger counts as present by what it does, whatever it is called: it
-- fires on this event and the text of its function shows this pattern.
-- Events are the bits of pg_trigger.tgtype: 4 insert, 16 update.
create function pg_temp.has_trigger(app_table text, event integer, pattern text) returns boolean
language sql as $$
    select exists (
        select from pg_trigger t
        join pg_proc f on f.oid = t.tgfoid
        where t.tgrelid = format('public.%I', app_table)::regclass
            and not t.tgisinternal
            and t.tgtype & event <> 0
            and (f.prosrc ~* pattern or convert_from(t.tgargs, 'UTF8') ~* pattern)
    )
$$;

do $$
declare
    app_table text;
begin
    foreach app_table in array array['ai_meal_plans', 'ai_workout_plans'] loop
        if not pg_temp.has_trigger(app_table, 4, 'is_active') then
            execute format(
                'create trigger deactivate_other_plans after insert or update on public.%I
                 for each row when (new.is_active)
                 execute function regimen.deactivate_other_plans()', app_table);
        end if;
    end loop;

    if not pg_temp.has_trigger('quiz_results', 4, 'ai_gen_quiz_count') then
        create trigger count_quiz before insert on public.quiz_results
            for each row execute function regimen.count_quiz();
    end if;

    foreach app_table in array array[
        'profiles', 'ai_meal_plans', 'ai_workout_plans', 'daily_water_intake'
    ] loop
        if not pg_temp.has_trigger(app_table, 16, '(new\.|^)updated_at') then
            execute format(
                'create trigger touch_updated_at before update on public.%I
                 for each row execute function regimen.touch_updated_at()', app_table);
        end if;
    end loop;
end
$$;

drop function pg_temp.has_trigger(text, integer, text);
