-- Replaces a call's reservation by its actual cost.
--
-- KEYS: 1 spent by the user this month, 2 by everybody today
-- ARGV: 1 the difference, in millionths of a dollar
-- Reply: the number of changed counters
--
-- A missing counter stays missing: it is filled from Postgres, which has the
-- actual cost. One filled in between counts the call with its highest possible
-- cost, like the reservation, so the difference is correct. A value that is not
-- a number is deleted, as in reserve.lua.

local changed = 0
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then
    local counted = redis.pcall('INCRBY', key, ARGV[1])
    if type(counted) == 'table' then
      redis.call('DEL', key)
    else
      changed = changed + 1
    end
  end
end
return changed
