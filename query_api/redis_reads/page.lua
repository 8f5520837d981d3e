-- Returns a page of a sorted set, highest rank first, with its partition's checkpoint and documents of the same
-- moment.
--
-- KEYS[1] is the checkpoint; KEYS[2] the sorted set; KEYS[3] a hash whose fields for the members are returned, or
-- the sorted set again for none; KEYS[4..] documents.
-- ARGV[1] is the number of members; ARGV[2] and ARGV[3] are the rank and member to continue after, empty for the
-- first page. Members of equal rank come in descending order; ranks are compared as numbers, members as bytes.
local wanted = tonumber(ARGV[1])
local rank, after = ARGV[2], ARGV[3]
local page, offset = {}, 0
if rank == '' then
    page = redis.call('ZRANGE', KEYS[2], 0, wanted - 1, 'REV', 'WITHSCORES')
end
while rank ~= '' and #page < 2 * wanted do
    local found = redis.call(
        'ZRANGE', KEYS[2], rank, '-inf', 'BYSCORE', 'REV', 'LIMIT', offset, wanted, 'WITHSCORES')
    if #found == 0 then
        break
    end
    for i = 1, #found, 2 do
        local seen = tonumber(found[i + 1]) == tonumber(rank) and found[i] >= after
        if not seen and #page < 2 * wanted then
            page[#page + 1] = found[i]
            page[#page + 1] = found[i + 1]
        end
    end
    offset = offset + wanted
end
local documents, fields = {}, {}
for i = 4, #KEYS do
    documents[#documents + 1] = redis.call('GET', KEYS[i])
end
if KEYS[3] ~= KEYS[2] and redis.call('EXISTS', KEYS[3]) == 1 then
    for i = 1, #page, 2 do
        fields[#fields + 1] = redis.call('HGET', KEYS[3], page[i])
    end
end
return { redis.call('GET', KEYS[1]), page, documents, fields }
