-- What operators see and do from a terminal: the workers there are, models to leave
-- alone, and what was given up.

-- Written by each worker's heartbeat; a row that is not renewed is a worker that is
-- gone, and is cleared away by those that live.
create table regimen.workers (
    worker_id text primary key,
    version text not null,
    host text not null,
    pid integer not null,
    slots integer not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    -- Jobs in its hands, and whether it takes no more.
    held integer not null,
    draining boolean not null
);
create index workers_seen on regimen.workers (seen_at);

-- Models that are not asked, whoever serves them. A table of their own: the release
-- before knows only queues and providers in regimen.pauses.
create table regimen.model_pauses (
    model text primary key,
    paused_by text not null,
    paused_at timestamptz not null default now()
);

-- What was given up, newest first.
create index callbacks_dead on regimen.callbacks (settled_at desc) where state = 'dead';
create index billing_notices_failed on regimen.billing_notices (created_at desc)
    where mail_state = 'failed';

-- No policy: nobody but the service reads them.
alter table regimen.workers enable row level security;
alter table regimen.model_pauses enable row level security;
