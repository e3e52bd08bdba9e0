-- A claim takes turns with other claims for the same user, so that together
-- they keep to the user's cap. A function, so that this fits into the claim's
-- one statement: what runs in it sees what was committed while it waited.

create function regimen.running_in_turn(of_user uuid) returns bigint
language plpgsql volatile as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'jobs are claimed under read committed, not %',
            current_setting('transaction_isolation')
            using hint = 'A pooler in transaction mode loses the setting: set '
                'default_transaction_isolation to read committed for the role of the service.';
    end if;
    perform pg_advisory_xact_lock(4711, hashtext(of_user::text));
    return (select count(*) from regimen.jobs where user_id = of_user and state = 'running');
end
$$;
