-- What speaks for caution with a job's plan, told to whoever asks for the job: an array of
-- {code, text}; null when nothing does, or the job is older than this.
alter table regimen.jobs add column cautions jsonb;
