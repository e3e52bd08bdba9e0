-- What tells a subscription that gives access from one that does not: what it is
-- for, and whether its collection is paused.

alter table regimen.subscriptions
    -- The prices and products of all its items; null while no account told them,
    -- as in rows of older releases.
    add column items text[],
    -- Collection of payments is paused, until then if that is set.
    add column collection_paused boolean not null default false,
    add column resumes_at timestamptz;

-- Rows of older releases that are still to be read anew, and live ones by user.
create index subscriptions_unread on regimen.subscriptions (id)
    where items is null and status in ('active', 'trialing', 'past_due');

alter table regimen.customers
    -- Since Stripe, asked about it, knew no such customer.
    add column missing_since timestamptz;

-- The checkout each user was sent to last: there is one open at a time.
create table regimen.open_checkouts (
    user_id uuid primary key,
    session_id text not null,
    made_at timestamptz not null default now()
);
alter table regimen.open_checkouts enable row level security;
