-- Puts messages into a list and wakes one sleeper.
-- KEYS[1] list, KEYS[2] its token list.
-- ARGV[1] 'behind' those that stand there or 'before' them, then the messages, oldest first.
-- Reply: OK. The lists have no TTL: they hold live work only.
if ARGV[1] == 'before' then
  for i = #ARGV, 2, -1 do
    redis.call('RPUSH', KEYS[1], ARGV[i])
  end
else
  for first = 2, #ARGV, 1000 do
    redis.call('LPUSH', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
  end
end
if redis.call('LLEN', KEYS[2]) == 0 then
  redis.call('LPUSH', KEYS[2], '1')
end
return redis.status_reply('OK')
