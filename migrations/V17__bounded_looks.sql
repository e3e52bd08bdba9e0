-- What is done every second costs the same however long the queue is: for each
-- look at many rows there is one index that gives its order, and no other that
-- does, so that no statistics can talk the planner into another way. And what
-- everybody spent in a day is kept as it is written, not summed up when asked.

-- How much waits, class by class (replaces jobs_queued, which nothing else used).
create index jobs_depth on regimen.jobs (class, id) where state = 'queued';
drop index regimen.jobs_queued;

-- What of a user runs or stands in Redis. With its second column it is the only
-- one that gives an order of dispatch for one user (replaces jobs_user_standing).
create index jobs_user_places on regimen.jobs (user_id, dispatched_at)
    where state = 'running' or (state = 'queued' and dispatched_at is not null);
drop index regimen.jobs_user_standing;

-- Stripe's events: what was never pushed, or long ago; claims that were lost;
-- unresolved ones by their next look.
create index stripe_events_dispatch on regimen.stripe_events (dispatched_at, run_at)
    where state = 'received';
create index stripe_events_lost on regimen.stripe_events (lost, run_at)
    where state = 'received' and held;
create index stripe_events_next_look on regimen.stripe_events (run_at)
    where state = 'unresolved';

-- Mails that were never pushed, or long ago.
create index billing_notices_dispatch on regimen.billing_notices (dispatched_at, run_at)
    where mail_state = 'waiting';

-- Users who do not pay, in the order of the walk over them (replaces
-- subscriptions_past_due).
create index subscriptions_unpaid on regimen.subscriptions (user_id, seen_due_at)
    where status = 'past_due';
drop index regimen.subscriptions_past_due;

-- The callback that is owed longest, over all hosts. On an expression, so that
-- no look at one host is led along it.
create index callbacks_oldest on regimen.callbacks (timezone('UTC', run_at))
    where state = 'waiting';

-- What everybody spent in a day (UTC). Each session adds to a part of its own,
-- so that no two of them wait for each other.
create table regimen.spent_days (
    day date not null,
    part integer not null,
    micros bigint not null,
    primary key (day, part)
);
alter table regimen.spent_days enable row level security;

-- What a call counts for at most: 100 dollars, and ten million tokens of a kind.
-- A number beyond that is a mistake, and must not overflow what it is added to.
create function regimen.believable_micros(micros bigint) returns bigint
language sql immutable parallel safe as $$ select least(greatest(micros, 0), 100000000) $$;
create function regimen.believable_tokens(tokens bigint) returns bigint
language sql immutable parallel safe as $$ select least(greatest(tokens, 0), 10000000) $$;

-- A trigger, so that whatever writes the ledger is counted: the previous
-- release, an operator who puts an entry right.
create function regimen.count_spent() returns trigger
language plpgsql as $$
begin
    if tg_op in ('UPDATE', 'DELETE') then
        insert into regimen.spent_days as s (day, part, micros)
        values ((old.at at time zone 'UTC')::date, pg_backend_pid() % 1024,
            -regimen.believable_micros(old.cost_micros))
        on conflict (day, part) do update set micros = s.micros + excluded.micros;
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        insert into regimen.spent_days as s (day, part, micros)
        values ((new.at at time zone 'UTC')::date, pg_backend_pid() % 1024,
            regimen.believable_micros(new.cost_micros))
        on conflict (day, part) do update set micros = s.micros + excluded.micros;
    end if;
    return null;
end
$$;

-- Nothing is written between the trigger and the first sums.
lock table regimen.ai_usage in share row exclusive mode;
create trigger count_spent after insert or delete or update of at, cost_micros on regimen.ai_usage
    for each row execute function regimen.count_spent();
-- Budgets ask for today alone; yesterday for a day that ends right now.
insert into regimen.spent_days (day, part, micros)
select (at at time zone 'UTC')::date, -1, sum(regimen.believable_micros(cost_micros))
from regimen.ai_usage
where at >= (date_trunc('day', now() at time zone 'UTC') - interval '1 day') at time zone 'UTC'
group by 1;
