-- Records the outcome of a call to a provider. Times are milliseconds.
-- KEYS[1]  cool-down of the provider and model: a string that expires
-- KEYS[2]  its breaker: a hash {failures, opened, shut, open_until, probe_until}
-- ARGV[1]  ok | failing | busy | shut
-- ARGV[2]  failing: weight; busy: cool-down; shut: open time of the first time
-- ARGV[3]  weight at which the breaker opens
-- ARGV[4]  failing: open time of the first time
-- ARGV[5]  failing: longest open time
-- ARGV[6]  shut: longest open time
-- Reply    {cooling, open}: the rest of the cool-down and of the open time
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local what, amount = ARGV[1], tonumber(ARGV[2])
local idle = 120000

local function open_for(duration)
  local until_then = math.max(now + duration, tonumber(redis.call('HGET', KEYS[2], 'open_until')) or 0)
  redis.call('HSET', KEYS[2], 'open_until', until_then, 'failures', 0)
  redis.call('HDEL', KEYS[2], 'probe_until')
  -- Kept past its end, so that only one call is made next, as the probe.
  redis.call('PEXPIRE', KEYS[2], (until_then - now) * 2 + idle)
end

if what == 'ok' then
  redis.call('DEL', KEYS[2])
elseif what == 'busy' then
  if redis.call('PTTL', KEYS[1]) < amount then
    redis.call('SET', KEYS[1], '1', 'PX', amount)
  end
elseif what == 'shut' then
  local open_until = tonumber(redis.call('HGET', KEYS[2], 'open_until'))
  local shut = tonumber(redis.call('HGET', KEYS[2], 'shut')) or 0
  -- A call that began before the breaker opened changes nothing; a repeated fault
  -- doubles the time.
  if not (shut > 0 and open_until and now < open_until) then
    redis.call('HSET', KEYS[2], 'shut', shut + 1)
    open_for(math.min(tonumber(ARGV[6]), amount * 2 ^ math.min(shut, 20)))
  end
elseif what == 'failing' then
  local open_until = tonumber(redis.call('HGET', KEYS[2], 'open_until'))
  local failures = redis.call('HINCRBY', KEYS[2], 'failures', amount)
  -- A failed probe opens at once; a call that began before the breaker opened changes
  -- nothing.
  if open_until and now < open_until then
    redis.call('HSET', KEYS[2], 'failures', 0)
  elseif open_until or failures >= tonumber(ARGV[3]) then
    local opened = redis.call('HINCRBY', KEYS[2], 'opened', 1)
    open_for(math.min(tonumber(ARGV[5]), tonumber(ARGV[4]) * 2 ^ math.min(opened - 1, 20)))
  else
    redis.call('PEXPIRE', KEYS[2], idle)
  end
end

local open_until = tonumber(redis.call('HGET', KEYS[2], 'open_until')) or 0
return {math.max(redis.call('PTTL', KEYS[1]), 0), math.max(open_until - now, 0)}
