-- When a quiz is deleted, Postgres looks for the plans made from it; when a profile is,
-- for the notifications that its user sent. Without these indexes each of those looks
-- reads everybody's plans or notifications. Where the app has an index that begins with
-- the column, of all rows, that one serves.
do $$
declare
    app_table text;
    app_column text;
    index_name text;
begin
    for app_table, app_column, index_name in values
        ('ai_meal_plans', 'quiz_result_id', 'idx_ai_meal_plans_quiz'),
        ('ai_workout_plans', 'quiz_result_id', 'idx_ai_workout_plans_quiz'),
        ('notifications', 'sender_id', 'idx_notifications_sender')
    loop
        if exists (
            select from pg_attribute a
            where a.attrelid = format('public.%I', app_table)::regclass
                and a.attname = app_column and not a.attisdropped
        ) and not exists (
            select from pg_index i
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = format('public.%I', app_table)::regclass
                and i.indpred is null and i.indisvalid and a.attname = app_column
        ) then
            execute format('create index %I on public.%I (%I)', index_name, app_table, app_column);
        end if;
    end loop;
end
$$;
