-- GCRA over several policies, atomically: all pass and are counted, or none is.
--
-- KEYS: one per policy; each holds the policy's theoretical arrival time (TAT)
--       in microseconds since 1970. All share one hash tag.
-- ARGV: 1 units to take: 1 takes one, 0 only reads, -1 returns one
--       2 microseconds to add to the server's clock, 0 outside of tests
--       then for each key: microseconds until one unit is restored, the burst,
--       and 1 if a refusal counts or 0 if it is only reported
-- Reply: the time used, then for each key: 1 if it passes alone, else 0, the
--       units left, microseconds until one more is restored, and microseconds
--       until it passes (0 if it does)
--
-- Uses the server's clock, so that callers' clocks do not matter. Every key
-- expires when its quota would be full again.

local units = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2]) + tonumber(ARGV[2])

local policies = {}
local pass = true

for i, key in ipairs(KEYS) do
  local interval = tonumber(ARGV[i * 3])
  local span = interval * tonumber(ARGV[i * 3 + 1])
  -- If the clock was set back, clients are refused for at most the span.
  local stored = tonumber(redis.call('GET', key) or 0)
  local tat = math.min(math.max(stored, now), now + span)
  -- A read tells whether one unit could be taken.
  local asked = units == 0 and 1 or units
  local wait = math.max(tat + asked * interval - span - now, 0)
  policies[i] = { interval = interval, span = span, tat = tat, wait = wait }
  if wait > 0 and ARGV[i * 3 + 2] == '1' then
    pass = false
  end
end

local reply = { now }
for i, key in ipairs(KEYS) do
  local policy = policies[i]
  if pass and policy.wait == 0 and units ~= 0 then
    policy.tat = math.max(policy.tat + units * policy.interval, now)
    if policy.tat > now then
      local milliseconds = math.ceil((policy.tat - now) / 1000)
      redis.call('SET', key, string.format('%.0f', policy.tat), 'PX', milliseconds)
    else
      redis.call('DEL', key)
    end
  end
  local free = policy.span - (policy.tat - now)
  local left = math.floor(free / policy.interval)
  reply[#reply + 1] = policy.wait == 0 and 1 or 0
  reply[#reply + 1] = left
  reply[#reply + 1] = (left + 1) * policy.interval - free
  reply[#reply + 1] = policy.wait
end
return reply
