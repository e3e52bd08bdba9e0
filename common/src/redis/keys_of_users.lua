-- One step of a walk over all keys: those in whose names one of the users stands.
-- KEYS[1] leads to the server; ARGV: cursor, pattern, steps of the server, users.
-- Keys are only named, none is read.
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
