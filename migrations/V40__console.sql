-- The operators' console: who is signed in, and links that sign in once. Only hashes of
-- secrets are stored, so a copy of these tables opens nothing.

create table regimen.console_sessions (
    -- SHA-256 of the secret in the cookie.
    secret_hash bytea primary key,
    -- Names the session in lists and in the audit log.
    id uuid not null unique,
    -- The operator, as the audit log names them.
    actor text not null,
    user_id uuid,
    role text not null check (role in ('admin', 'viewer')),
    -- Listed in the app's own table of operators, which is read again with each request.
    by_table boolean not null,
    created_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);
create index console_sessions_made on regimen.console_sessions (created_at);

create table regimen.console_links (
    secret_hash bytea primary key,
    actor text not null,
    role text not null check (role in ('admin', 'viewer')),
    expires_at timestamptz not null
);
create index console_links_expiry on regimen.console_links (expires_at);

-- No policy: nobody but the service reads them.
alter table regimen.console_sessions enable row level security;
alter table regimen.console_links enable row level security;
