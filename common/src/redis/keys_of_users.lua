-- One step of a scan over all keys: returns those whose names contain one of the users.
-- KEYS[1] routes the call to the server; ARGV: cursor, pattern, keys per step, users.
-- No key's value is read.
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local found = {page[1]}
for _, key in ipairs(page[2]) do
    for i = 4, #ARGV do
        if string.find(key, ARGV[i], 1, true) then
            found[#found + 1] = key
            break
        end
    end
end
return found
