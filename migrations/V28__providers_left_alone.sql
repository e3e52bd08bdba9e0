-- Whether a worker leaves a provider alone for now, as far as it knows: its
-- breaker is open or it is cooling down. Ingresses tell of it in /health.
alter table regimen.models_in_use add column left_alone boolean not null default false;
