-- Puts messages into a list and wakes one sleeper.
-- KEYS[1] list, KEYS[2] its token list; ARGV messages, oldest first.
-- Reply: nothing. The lists have no TTL: they hold live work only.
for first = 1, #ARGV, 1000 do
  redis.call('LPUSH', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
if redis.call('LLEN', KEYS[2]) == 0 then
  redis.call('LPUSH', KEYS[2], '1')
end
return redis.status_reply('OK')
