-- What a user's plan is worth is not for users to write. Tables that V1 made have
-- column rights (V2); on the app's own users may write every column of their
-- profile, and forms send all of them. So whoever comes through the API of the
-- database as a user keeps what was there, without an error; the service, the app's
-- own functions with their owner's rights, and its admins write as before.

-- Operators of the app: by a claim of their token, or by a row in the app's table
-- of admins. Replace this function where they are kept elsewhere.
create function regimen.is_app_admin() returns boolean
language plpgsql stable security definer set search_path = pg_catalog as $$
declare
    claims jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb -> 'app_metadata';
    found boolean := false;
begin
    if claims ->> 'role' = 'admin' or claims -> 'roles' ? 'admin' then
        return true;
    end if;
    if to_regclass('public.admin_users') is not null then
        execute 'select exists (select from public.admin_users where id = auth.uid())' into found;
    end if;
    return found;
exception when others then
    -- No claims that can be read, or a table of another shape: nobody is let through.
    return false;
end
$$;

create function regimen.keep_entitlement() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    if regimen.is_app_admin() then
        return new;
    end if;
    if tg_op = 'INSERT' then
        new.plan_id := 'free';
        new.stripe_customer_id := null;
        new.plan_renewal_date := null;
        new.ai_gen_quiz_count := 0;
    else
        new.plan_id := old.plan_id;
        new.stripe_customer_id := old.stripe_customer_id;
        new.plan_renewal_date := old.plan_renewal_date;
        new.ai_gen_quiz_count := old.ai_gen_quiz_count;
    end if;
    return new;
end
$$;

-- The condition sees who writes; inside the function it is the function's owner.
-- Named to fire after the app's own triggers, which fire in the order of names.
create trigger zz_regimen_keep_entitlement before insert or update on public.profiles
    for each row
    when (current_user in ('authenticated', 'anon'))
    execute function regimen.keep_entitlement();
