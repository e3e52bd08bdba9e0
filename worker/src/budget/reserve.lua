-- Reserves an amount from two budgets atomically, or from neither.
--
-- KEYS: 1 spent by the user this month, 2 by all users today; filled from
--       Postgres
-- ARGV: 1 amount, 2 the user's limit, 3 the limit of all users, all in millionths
--       of a dollar; a limit of -1 is none
-- Reply: {0, spent today} reserved; {1, 1} or {1, 2} this key is missing: fill it
--       and try again; {2, 1} or {2, 2} the limit of this key is reached
--
-- A value that is not an amount (a whole number below ten billion dollars, within
-- what Lua can count exactly) is foreign: the key is deleted and counts as missing.

local amount = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  local spent = type(value) == 'string' and string.match(value, '^%-?%d+$') and tonumber(value)
  if not spent or spent > 1e16 / 2 or spent < -1e16 / 2 then
    if value then
      redis.call('DEL', key)
    end
    return { 1, i }
  end
  local limit = tonumber(ARGV[i + 1])
  if limit >= 0 and spent + amount > limit then
    return { 2, i }
  end
end
redis.call('INCRBY', KEYS[1], amount)
return { 0, math.max(0, redis.call('INCRBY', KEYS[2], amount)) }
