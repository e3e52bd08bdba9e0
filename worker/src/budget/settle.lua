-- Puts what a call really cost in place of what was reserved for it.
--
-- KEYS: 1 spent by the user this month, 2 by everybody today
-- ARGV: 1 the difference, in millionths of a dollar
-- Reply: counters changed
--
-- A counter that is gone stays gone: it is put there from Postgres, which
-- knows the real cost. One that was put there in between counts the call with
-- the most it can cost, as the reservation did, so the difference is right.
-- What holds no number goes, as when it is asked.

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
