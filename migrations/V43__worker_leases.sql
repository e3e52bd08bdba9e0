-- A lease belongs to a worker: one row a process, so that a heartbeat costs the same
-- however many jobs it is for. What an expired worker holds goes back to the queue.

-- Written by each heartbeat; no index on the time, so that every update stays in its page.
create table regimen.worker_leases (
    worker_id text primary key,
    expires_at timestamptz not null
) with (fillfactor = 50);
alter table regimen.worker_leases enable row level security;

-- What a worker holds. No column of it changes between a claim and its end, so that the
-- updates in between touch no index.
create index jobs_held on regimen.jobs (worker_id, id) where state = 'running';

-- Workers of the release before extend the lease of each job, and have no row above: of
-- their jobs it still says how long the claim holds.
comment on column regimen.jobs.lease_expires_at is
    'When the claim ends at the latest, whatever its holder says: some minutes after its '
    'deadline. The lease of its worker, regimen.worker_leases, ends it earlier.';

-- A job's row is rewritten with each change of its state, and everything large stays where
-- it was written once.
alter table regimen.jobs set (toast_tuple_target = 512);
