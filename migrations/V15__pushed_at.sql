-- Since when a job waits for a worker, and when its id was last put into
-- Redis, are two things: what Redis loses is put there again, and the job has
-- waited all the same. Where Redis loses everything again and again, the age
-- that operators scale by counts from the first time.

alter table regimen.jobs add column pushed_at timestamptz;

comment on column regimen.jobs.pushed_at is
    'When its id was last put into Redis again after a loss. Older than dispatched_at: of an '
    'earlier turn. Losses are judged by the later of the two, the wait by dispatched_at.';

-- What stands in Redis, by the time it was last put there: lost messages.
create index jobs_pushed on regimen.jobs (class, greatest(dispatched_at, pushed_at))
    where state = 'queued' and dispatched_at is not null;
