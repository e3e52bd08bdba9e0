-- What Stripe told us, what we made of it, and what is still to be told to users.

-- Every event, once, exactly as it was signed. Text, not jsonb: jsonb refuses
-- some genuine JSON (\u0000), and a replay must see the same bytes.
create table regimen.stripe_events (
    id text primary key,
    type text not null,
    -- By Stripe's clock; null when the event does not say.
    made_at timestamptz,
    livemode boolean,
    account text,
    -- Events of one customer are applied one after the other.
    customer_id text,
    object_id text,
    payload text not null,
    -- How it came: delivered, or fetched because no delivery arrived.
    source text not null check (source in ('webhook', 'backfill')),
    state text not null default 'received'
        check (state in ('received', 'applied', 'ignored', 'unresolved', 'dead', 'mismatched')),
    -- Claims so far; the number of the latest one is its holder's proof.
    attempts integer not null default 0,
    -- Claimed and not given back; if the claim runs out so, its holder is lost.
    held boolean not null default false,
    -- Holders lost so far.
    lost integer not null default 0,
    -- Not before this time: a retry, the end of a claim, the next look at an unresolved one.
    run_at timestamptz not null default now(),
    -- Set when its id was pushed to Redis.
    dispatched_at timestamptz,
    error_code text,
    error_detail text,
    trace_context text,
    received_at timestamptz not null default now(),
    settled_at timestamptz,
    constraint open_or_settled check ((state = 'received') = (settled_at is null))
) with (fillfactor = 80);

-- Waiting to be applied, oldest first: dispatch, direct claims, lag.
create index stripe_events_waiting on regimen.stripe_events (run_at) where state = 'received';
-- Unresolved ones wait for a user to turn up.
create index stripe_events_unresolved on regimen.stripe_events (customer_id, run_at)
    where state = 'unresolved';
-- The operators' list of what needs them.
create index stripe_events_attention on regimen.stripe_events (state, received_at desc)
    where state in ('dead', 'unresolved', 'mismatched');
create index stripe_events_received on regimen.stripe_events (received_at);

create table regimen.customers (
    id text primary key,
    -- The user its checkouts or its own metadata name; of several the newest, checkouts first.
    linked_user uuid,
    link_source text check (link_source in ('customer', 'checkout')),
    linked_at timestamptz,
    -- The user all we know points to: linked, or named by its subscriptions or a profile.
    user_id uuid,
    deleted boolean not null default false,
    -- Rises with every change to the customer or its subscriptions.
    revision bigint not null default 0,
    updated_at timestamptz not null default now(),
    constraint link_is_whole check
        ((linked_user is null) = (link_source is null) and (linked_user is null) = (linked_at is null))
);
create index customers_user on regimen.customers (user_id) where user_id is not null;

create table regimen.subscriptions (
    id text primary key,
    customer_id text not null references regimen.customers (id),
    user_id uuid,
    status text not null,
    -- The end of what is paid, and when it will end if nothing changes.
    period_end timestamptz,
    ends_at timestamptz,
    trial_end timestamptz,
    price_id text,
    -- When Stripe made it.
    made_at timestamptz,
    -- What our account of it rests on (see billing::record).
    basis text not null check (basis in ('checkout', 'created', 'event', 'fetch')),
    basis_at timestamptz,
    -- When payment began to fail: as told by an event, and as first noticed.
    fell_due_at timestamptz,
    seen_due_at timestamptz,
    metadata_user uuid,
    checkout_user uuid,
    updated_at timestamptz not null default now(),
    constraint basis_has_its_time check ((basis = 'checkout') = (basis_at is null))
);
create index subscriptions_customer on regimen.subscriptions (customer_id);
create index subscriptions_user on regimen.subscriptions (user_id) where user_id is not null;
-- Grace periods that may have run out.
create index subscriptions_past_due on regimen.subscriptions (user_id) where status = 'past_due';

-- What a user is told of an event: one row an event, so never twice.
create table regimen.billing_notices (
    event_id text primary key,
    kind text not null check
        (kind in ('payment_failed', 'payment_action_required', 'trial_will_end', 'dispute_opened')),
    user_id uuid not null,
    amount bigint,
    currency text,
    url text,
    -- The next attempt, or the end of the trial.
    due_at timestamptz,
    mail_state text not null check (mail_state in ('waiting', 'sent', 'failed', 'off', 'late')),
    attempts integer not null default 0,
    run_at timestamptz not null default now(),
    dispatched_at timestamptz,
    error text,
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    constraint sent_has_its_time check ((mail_state = 'sent') = (sent_at is not null))
);
create index billing_notices_waiting on regimen.billing_notices (run_at)
    where mail_state = 'waiting';

-- Whose customer is it? Asked for every event.
create index if not exists idx_profiles_stripe_customer on public.profiles (stripe_customer_id)
    where stripe_customer_id is not null;

alter table regimen.stripe_events enable row level security;
alter table regimen.customers enable row level security;
alter table regimen.subscriptions enable row level security;
alter table regimen.billing_notices enable row level security;

create policy own_subscriptions on regimen.subscriptions for select
    using (user_id = (select auth.uid()));

do $$
begin
    if exists (select from pg_roles where rolname = 'authenticated') then
        grant usage on schema regimen to authenticated;
        grant select (id, customer_id, user_id, status, period_end, ends_at, trial_end, price_id,
            made_at, updated_at) on regimen.subscriptions to authenticated;
    end if;
end
$$;
