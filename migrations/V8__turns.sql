-- Whose turn it is, found along an index however much of a user waits: its
-- jobs in the order in which they become due. The order of creation, which
-- the older index had, leads through every retry that is not due yet.

create index jobs_user_due on regimen.jobs (user_id, run_at, created_at, id)
    where state = 'queued' and dispatched_at is null;

drop index regimen.jobs_user_waiting;

comment on column regimen.jobs.dispatched_at is
    'Since when it is this job''s turn: its id stands in Redis, and workers that cannot reach '
    'Redis take it from here. Null while it waits for its user''s running jobs, or for run_at.';
