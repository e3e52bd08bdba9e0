-- Takes an amount out of two budgets in one step, or out of none.
--
-- KEYS: 1 spent by the user this month, 2 by everybody today; put there from
--       Postgres
-- ARGV: 1 amount, 2 the user's limit, 3 everybody's limit, all in millionths of
--       a dollar; a limit of -1 is none
-- Reply: {0, spent today} taken; {1, 0} a key is not there: put it there and ask
--       again; {2, 1} or {2, 2} the limit of this key is in the way

local amount = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local spent = tonumber(redis.call('GET', key))
  if not spent then
    return { 1, 0 }
  end
  local limit = tonumber(ARGV[i + 1])
  if limit >= 0 and spent + amount > limit then
    return { 2, i }
  end
end
redis.call('INCRBY', KEYS[1], amount)
return { 0, redis.call('INCRBY', KEYS[2], amount) }
