-- Decides whether a provider may be called now. Times are milliseconds.
-- KEYS[1]  cool-down of the provider and model: a string that expires
-- KEYS[2]  its breaker: a hash {failures, opened, open_until, probe_until}
-- ARGV[1]  how long a probe may take; 0 only looks
-- Reply    {verdict, wait}: 0 call, 1 call as the one probe, 2 cooling down, 3 open,
--          4 call, and nothing has failed lately
local cooling = redis.call('PTTL', KEYS[1])
if cooling > 0 then
  return {2, cooling}
end
local breaker = redis.call('HMGET', KEYS[2], 'open_until', 'probe_until', 'failures')
local open_until = tonumber(breaker[1])
if not open_until then
  return {breaker[3] and 0 or 4, 0}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now < open_until then
  return {3, open_until - now}
end
local probe_until = tonumber(breaker[2]) or 0
if now < probe_until then
  return {3, probe_until - now}
end
if tonumber(ARGV[1]) == 0 then
  return {1, 0}
end
redis.call('HSET', KEYS[2], 'probe_until', now + ARGV[1])
redis.call('PEXPIRE', KEYS[2], math.max(redis.call('PTTL', KEYS[2]), ARGV[1] * 2))
return {1, 0}
