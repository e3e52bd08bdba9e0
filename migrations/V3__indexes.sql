-- The ten indexes the app's operators asked for, each for one query of the app
-- or of ours. On a large live database build them beforehand with `create index
-- concurrently` under these names (see README.md); then this finds them done.

-- The active plan of a user.
create index if not exists idx_ai_meal_plans_user_active
    on public.ai_meal_plans (user_id, is_active) where is_active;
create index if not exists idx_ai_workout_plans_user_active
    on public.ai_workout_plans (user_id, is_active) where is_active;

-- Who takes part in a challenge, and a user's open or finished challenges.
create index if not exists idx_challenge_participants_challenge_completed
    on public.challenge_participants (challenge_id, completed);
create index if not exists idx_challenge_participants_user_completed
    on public.challenge_participants (user_id, completed);

-- A user's logs and quizzes, newest first.
create index if not exists idx_workout_logs_user_date
    on public.workout_logs (user_id, workout_date desc);
create index if not exists idx_daily_nutrition_logs_user_date
    on public.daily_nutrition_logs (user_id, log_date desc);
create index if not exists idx_daily_water_intake_user_date
    on public.daily_water_intake (user_id, log_date desc);
create index if not exists idx_quiz_results_user_created
    on public.quiz_results (user_id, created_at desc);

-- A user's unread notifications, newest first.
create index if not exists idx_notifications_recipient_read_created
    on public.notifications (recipient_id, read, created_at desc);

-- The paying users, few among many.
create index if not exists idx_profiles_plan
    on public.profiles (plan_id) where plan_id <> 'free';
