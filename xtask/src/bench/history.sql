-- A long history: copies of one real job, spread over the last 90 days, and of what it
-- left, as the default periods of retention leave them, but without its quiz, which would
-- be most of their size and is not read again. One job in fifty failed. psql knows :jobs,
-- :users and :job.

\set ON_ERROR_STOP on
-- Copies need no triggers and no checks of references, and may be lost.
set session_replication_role = replica;
set synchronous_commit = off;

-- Ids in the order of their times, as the service makes them.
create unlogged table public.bench_copies as
select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0')
           || substr(md5(n::text), 13))::uuid as id,
       n % 50 = 0 as failed,
       lpad(to_hex(1 + (n::bigint * 7919) % :users), 32, '0')::uuid as user_id,
       at
from (
    select n, now() - interval '1 hour' - (:jobs - n) * (interval '90 days' / :jobs) as at
    from generate_series(1, :jobs) n
) copies;

-- The columns of a table, taken from the original `o` or as `instead` says.
create function public.bench_columns(of regclass, instead jsonb) returns text
language sql as $$
    select string_agg(
        coalesce(instead ->> attname, 'o.' || quote_ident(attname)), ', ' order by attnum)
    from pg_attribute where attrelid = of and attnum > 0 and not attisdropped
$$;

select 'insert into regimen.jobs select ' || public.bench_columns('regimen.jobs', '{
    "id": "c.id", "user_id": "c.user_id", "generation_id": "c.id",
    "state": "case when c.failed then ''failed'' else o.state end",
    "plan_id": "case when not c.failed then c.id end",
    "error_code": "case when c.failed then ''providers_exhausted'' end",
    "input": "''{}''",
    "created_at": "c.at", "updated_at": "c.at", "first_claimed_at": "c.at", "finished_at": "c.at",
    "kept": "case when c.at > now() - interval ''30 days'' then 1 else 0 end"}')
    || ' from public.bench_copies c, regimen.jobs o where o.id = ' || quote_literal(:'job') \gexec

select 'insert into regimen.job_events select ' || public.bench_columns('regimen.job_events', '{
    "job_id": "c.id", "at": "c.at"}')
    || ' from public.bench_copies c, regimen.job_events o where o.job_id = ' || quote_literal(:'job')
    || ' and c.at > now() - interval ''30 days''' \gexec

select 'insert into regimen.job_attempts select ' || public.bench_columns('regimen.job_attempts', '{
    "id": "gen_random_uuid()", "job_id": "c.id", "user_id": "c.user_id", "raw_reply": "null",
    "started_at": "c.at", "finished_at": "c.at"}')
    || ' from public.bench_copies c, regimen.job_attempts o where o.job_id = ' || quote_literal(:'job')
    || ' and c.at > now() - interval ''30 days''' \gexec

select 'insert into regimen.ai_usage select ' || public.bench_columns('regimen.ai_usage', '{
    "attempt_id": "gen_random_uuid()", "job_id": "c.id", "user_id": "c.user_id", "at": "c.at"}')
    || ' from public.bench_copies c, regimen.ai_usage o where o.job_id = ' || quote_literal(:'job') \gexec

select 'insert into regimen.generations select ' || public.bench_columns('regimen.generations', '{
    "id": "c.id", "user_id": "c.user_id", "at": "c.at"}')
    || ' from public.bench_copies c, (select * from regimen.generations limit 1) o' \gexec

select 'insert into regimen.idempotency_keys select '
    || public.bench_columns('regimen.idempotency_keys', '{
    "user_id": "c.user_id", "key": "c.id::text", "created_at": "c.at",
    "expires_at": "c.at + interval ''1 day''"}')
    || ' from public.bench_copies c, (select * from regimen.idempotency_keys limit 1) o'
    || ' where c.at > now() - interval ''1 day''' \gexec

select 'insert into public.profiles select ' || public.bench_columns('public.profiles', '{
    "id": "c.user_id"}')
    || ' from (select distinct user_id from public.bench_copies) c,'
    || ' (select * from public.profiles limit 1) o on conflict do nothing' \gexec

-- What one worker would have counted, with a spread of times and three providers.
insert into regimen.stats_minutely (minute, accepted, succeeded, failed, expired, cancelled,
    counted, in_time, wait, generation, whole)
select date_trunc('minute', at), count(*), count(*) - 1, 1, 0, 0, count(*), count(*) - 1,
    spread, spread, spread
from public.bench_copies,
    (values ('{"8": 4, "10": 6, "12": 9, "14": 9, "16": 6, "18": 4}'::jsonb)) times (spread)
where at > now() - interval '30 days' group by 1, spread on conflict do nothing;
insert into regimen.stats_providers (minute, provider, calls, cost_micros, outcomes, latency)
select date_trunc('minute', at), provider, count(*), count(*) * 900,
    '{"ok": 36, "timeout": 1, "overloaded": 1}', '{"12": 9, "14": 9, "16": 6}'
from public.bench_copies, unnest(array['openai', 'anthropic', 'gemini']) provider
where at > now() - interval '30 days' group by 1, 2 on conflict do nothing;

drop table public.bench_copies;
drop function public.bench_columns;
-- As autovacuum does in the course of 90 days.
vacuum (analyze) regimen.jobs, regimen.job_events, regimen.job_attempts, regimen.ai_usage,
    regimen.generations, regimen.idempotency_keys, regimen.stats_minutely,
    regimen.stats_providers, public.profiles;
checkpoint;
