-- The effect of a load on PostgreSQL, for use during the load or right after it:
--   psql "$DATABASE_URL" -f load-tests/k6/database.sql

\echo Connections by program and state
select coalesce(nullif(application_name, ''), '(unnamed)') as program,
       state,
       count(*) as connections,
       count(*) filter (where wait_event_type = 'Lock') as waiting_for_locks,
       max(round(extract(epoch from now() - xact_start)::numeric, 3)) as oldest_transaction_s
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
group by 1, 2
order by connections desc;

\echo Tables: rows, dead rows, updates and how many of them were HOT
select relname as table, n_live_tup as live, n_dead_tup as dead,
       n_tup_ins as inserted, n_tup_upd as updated,
       round(100.0 * n_tup_hot_upd / nullif(n_tup_upd, 0), 1) as hot_percent
from pg_stat_user_tables
where schemaname in ('regimen', 'public') and n_tup_ins + n_tup_upd > 0
order by n_tup_ins + n_tup_upd desc
limit 15;

select exists (select from pg_extension where extname = 'pg_stat_statements') as has_statements
\gset
\if :has_statements
\echo Statements by the time they took in all
select calls,
       round(total_exec_time::numeric) as total_ms,
       round(mean_exec_time::numeric, 3) as mean_ms,
       round(max_exec_time::numeric, 1) as max_ms,
       rows,
       left(regexp_replace(query, '\s+', ' ', 'g'), 90) as statement
from pg_stat_statements
where dbid = (select oid from pg_database where datname = current_database())
order by total_exec_time desc
limit 15;
\else
\echo Statements: the extension pg_stat_statements is not installed in this database
\endif
