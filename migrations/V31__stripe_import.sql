-- Where the reading of everything from Stripe (backfill --everything) was broken
-- off: the list under way and the last object that was taken in. Null before the
-- first run and after a whole one.
alter table regimen.stripe_backfill add column import_list text;
alter table regimen.stripe_backfill add column import_after text;
