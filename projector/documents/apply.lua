-- Writes one partition's documents and its checkpoint, if and only if the checkpoint is still what the caller
-- read on from.
--
-- The checkpoint says which event the partition's documents stand at, and which definition and build wrote
-- them. A caller folds the events after it and asks for the result to be written here. If anybody else has
-- written meanwhile (a second projector, this one's own repeated call, a builder that took over) or Redis lost
-- its tail, the checkpoint differs: nothing is changed, the caller gets the standing one back, forgets what it
-- knew of the partition and folds again from there. So each event is applied exactly once, by whomever, and no
-- lock is needed. Redis runs a script to its end before anything else, so that readers see all of it or
-- nothing; calls are small because everybody waits meanwhile.
--
-- KEYS[1] the checkpoint; then the keys of string documents, then one for each other operation; all of one
-- hash tag. ARGV[1] the expected checkpoint, empty for none; ARGV[2] the new one; ARGV[3] how many documents,
-- then their values; then the operations: a letter and its arguments (of Z and X: how many there are, then
-- ranks and members, or ids, fields and values). Values are never decoded here. The documents are written last,
-- with the checkpoint: an operation may delete what stood there.
local standing = redis.call('GET', KEYS[1]) or ''
if standing ~= ARGV[1] then
    return standing
end
local documents = tonumber(ARGV[3])
local i, k, count = documents + 4, documents + 2, #ARGV
while i <= count do
    local letter, key = ARGV[i], KEYS[k]
    k = k + 1
    if letter == 'Z' then
        local last = i + 1 + tonumber(ARGV[i + 1])
        redis.call('ZADD', key, unpack(ARGV, i + 2, last))
        i = last + 1
    elseif letter == 'z' then
        redis.call('ZREM', key, ARGV[i + 1])
        i = i + 2
    elseif letter == 'H' then
        redis.call('HSET', key, ARGV[i + 1], ARGV[i + 2])
        i = i + 3
    elseif letter == 'h' then
        redis.call('HDEL', key, ARGV[i + 1])
        i = i + 2
    elseif letter == 'X' then
        local last = i + 2 + tonumber(ARGV[i + 2])
        for at = i + 3, last, 3 do
            redis.call('XADD', key, ARGV[at], ARGV[at + 1], ARGV[at + 2])
        end
        redis.call('XTRIM', key, 'MAXLEN', '=', ARGV[i + 1])
        i = last + 1
    elseif letter == 'D' then
        redis.call('DEL', key)
        i = i + 1
    else
        return redis.error_reply('unknown operation ' .. letter)
    end
end
local written = {KEYS[1], ARGV[2]}
for number = 1, documents do
    written[2 * number + 1] = KEYS[number + 1]
    written[2 * number + 2] = ARGV[number + 3]
end
redis.call('MSET', unpack(written))
return 1
