-- What of a request's answers about food was not understood, told to whoever
-- asks for the job: an array of {pointer, words, text}; null when all was.
alter table regimen.jobs add column warnings jsonb;
