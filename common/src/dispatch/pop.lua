-- Takes messages from two lists by weight, oldest first.
-- KEYS[1] first list, KEYS[2] second list.
-- ARGV[1] the highest number, ARGV[2] and ARGV[3] the lists' weights (0: skip the list),
-- ARGV[4] the caller's running count of picks, so that small pops keep the shares.
-- Reply: the messages of the first list and those of the second.
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
local messages = { {}, {} }
for list = 1, 2 do
  if take[list] > 0 then messages[list] = redis.call('RPOP', KEYS[list], take[list]) end
end
return messages
