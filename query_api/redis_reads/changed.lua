-- Returns a user's ratings and the positions of their last changes, with the partition's checkpoint and documents
-- of the same moment.
--
-- KEYS[1] is the checkpoint; KEYS[2] the sorted set of ratings; KEYS[3] the hash of reviews; then come the hashes of
-- positions, as many as ARGV[1] says; then documents. ARGV[2] is the number of positions beyond which the script
-- returns none, and no ratings; ARGV[3] the size of the field of a rating's position, the end of its movie's id;
-- ARGV[4] a stored position: reviews of ratings that have not changed since are left out, and all if there are none.
-- Stored positions are numbers without leading zero bytes, highest byte first.
local hashes, size, since = tonumber(ARGV[1]), tonumber(ARGV[3]), ARGV[4]
local documents, count = {}, 0
for i = 4 + hashes, #KEYS do
    documents[#documents + 1] = redis.call('GET', KEYS[i])
end
for i = 4, 3 + hashes do
    count = count + redis.call('HLEN', KEYS[i])
end
local ratings, positions, reviews = {}, {}, {}
if count <= tonumber(ARGV[2]) then
    for i = 4, 3 + hashes do
        positions[#positions + 1] = redis.call('HGETALL', KEYS[i])
    end
    ratings = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
    if redis.call('EXISTS', KEYS[3]) == 1 then
        local stored = {}
        for _, fields in ipairs(positions) do
            for at = 1, #fields, 2 do
                stored[fields[at]] = fields[at + 1]
            end
        end
        for i = 1, #ratings, 2 do
            local at = stored[string.sub(ratings[i], -size)] or ''
            local changed = #at > #since or (#at == #since and at > since)
            reviews[#reviews + 1] = changed and redis.call('HGET', KEYS[3], ratings[i])
        end
    end
end
return { redis.call('GET', KEYS[1]), documents, count, ratings, positions, reviews }
