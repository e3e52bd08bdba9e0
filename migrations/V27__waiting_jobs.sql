-- How many jobs wait, by class, kept by a trigger: whoever asks reads a few rows,
-- however many jobs there are. Who writes takes a part that nobody else holds at
-- the moment, so that no writer waits for another; there are as many parts as
-- there were writers at once.
--
-- The index jobs_depth is what the release before counts along; a later migration
-- drops it.

create table regimen.waiting_jobs (
    class text not null,
    part integer generated always as identity,
    jobs bigint not null,
    primary key (class, part)
) with (fillfactor = 50);
alter table regimen.waiting_jobs enable row level security;

create function regimen.add_waiting_jobs(of_class text, more bigint) returns void
language plpgsql as $$
begin
    update regimen.waiting_jobs set jobs = jobs + more
    where class = of_class and part = (
        select part from regimen.waiting_jobs where class = of_class
        order by part limit 1 for update skip locked);
    if not found then
        insert into regimen.waiting_jobs (class, jobs) values (of_class, more);
    end if;
end
$$;

-- One for each statement, not for each row: a statement over many jobs would
-- leave as many versions of its part, and pass over all of them with each job.
create function regimen.count_waiting_jobs() returns trigger
language plpgsql as $$
begin
    case tg_op
        when 'INSERT' then
            perform regimen.add_waiting_jobs(class, count(*))
            from newer where state = 'queued' group by class;
        when 'DELETE' then
            perform regimen.add_waiting_jobs(class, -count(*))
            from older where state = 'queued' group by class;
        when 'UPDATE' then
            perform regimen.add_waiting_jobs(class, sum(more))
            from (
                select class, 1 as more from newer where state = 'queued'
                union all
                select class, -1 from older where state = 'queued'
            ) changes
            group by class having sum(more) <> 0;
    end case;
    return null;
end
$$;

-- Nothing begins or ends to wait between the triggers and the first count.
lock table regimen.jobs in share row exclusive mode;
create trigger count_more_waiting_jobs after insert on regimen.jobs
    referencing new table as newer
    for each statement execute function regimen.count_waiting_jobs();
create trigger count_waiting_jobs after update on regimen.jobs
    referencing old table as older new table as newer
    for each statement execute function regimen.count_waiting_jobs();
create trigger count_fewer_waiting_jobs after delete on regimen.jobs
    referencing old table as older
    for each statement execute function regimen.count_waiting_jobs();
insert into regimen.waiting_jobs (class, jobs)
select class, count(*) from regimen.jobs where state = 'queued' group by class;
