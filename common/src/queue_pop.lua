-- Takes messages from two lists by weight, oldest first.
-- KEYS[1] first list, KEYS[2] second list, KEYS[3] their token list.
-- ARGV[1] how many at most, ARGV[2] and ARGV[3] the lists' weights (0: leave it alone),
-- ARGV[4] the caller's running count of picks, so that small pops keep the shares.
-- Reply: the messages. A token is left when work stays behind.
local want = tonumber(ARGV[1])
local have = { 0, 0 }
for list = 1, 2 do
  if tonumber(ARGV[1 + list]) > 0 then have[list] = redis.call('LLEN', KEYS[list]) end
end
local share, cycle = tonumber(ARGV[2]), tonumber(ARGV[2]) + tonumber(ARGV[3])
local turn = tonumber(ARGV[4])
local take = { 0, 0 }
for i = 0, want - 1 do
  local pick = ((turn + i) % cycle < share) and 1 or 2
  if take[pick] >= have[pick] then pick = 3 - pick end
  if take[pick] >= have[pick] then break end
  take[pick] = take[pick] + 1
end
local messages = {}
for list = 1, 2 do
  if take[list] > 0 then
    for _, message in ipairs(redis.call('RPOP', KEYS[list], take[list])) do
      messages[#messages + 1] = message
    end
  end
end
local left = have[1] + have[2] - #messages
if left > 0 and redis.call('LLEN', KEYS[3]) == 0 then
  redis.call('LPUSH', KEYS[3], '1')
end
return messages
