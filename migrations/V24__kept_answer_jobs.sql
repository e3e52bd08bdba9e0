-- The jobs of a kept answer, so that a repeated request can wait for them
-- without reading its own answer. Null on answers kept by earlier releases.
alter table regimen.idempotency_keys add column job_ids uuid[];
