-- The tables of a peer, in a database of its own: the same for all peers.

create table jobs (
    id uuid primary key,
    user_id uuid not null,
    state text not null default 'queued',
    input jsonb not null,
    created_at timestamptz not null default now(),
    finished_at timestamptz
);

create table plans (
    job_id uuid primary key references jobs,
    plan jsonb not null,
    created_at timestamptz not null default now()
);
