-- The index of all that waits by class is for statements that ask by class, which say
-- so with the same words. Without them, a plan that is made while nothing waits would
-- read this index, which is empty then, instead of the one of a user's jobs, and keep
-- doing so at the end of each job when much waits.
create index jobs_waiting on regimen.jobs (class, id) where state = 'queued' and class <> '';
drop index regimen.jobs_depth;
