-- A front end may follow its user's own jobs and spend directly, if the
-- operator exposes schema regimen: read only, own rows (V4), and only the
-- columns that concern the user. What workers keep for themselves stays shut.

do $$
begin
    if not exists (select from pg_roles where rolname = 'authenticated') then
        return;
    end if;
    grant usage on schema regimen to authenticated;
    grant select (
        id, user_id, generation_id, kind, state, stage, quiz_result_id, attempts, rounds, run_at,
        created_at, first_claimed_at, deadline_at, expires_at, updated_at, finished_at, last_seq,
        provider, model, cost_micros, plan_id, error_code, error_detail
    ) on regimen.jobs to authenticated;
    grant select on regimen.job_events to authenticated;
    grant select on regimen.ai_usage to authenticated;
end
$$;
