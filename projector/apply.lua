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
-- KEYS[1] the checkpoint; KEYS[2..] the keys written, all of one hash tag.
-- ARGV[1] the expected checkpoint, empty for none; ARGV[2] the new one; then the operations: a letter, the
-- index of its key in KEYS, and its arguments (of Z: how many there are, then ranks and members). Values are
-- never decoded here.
local standing = redis.call('GET', KEYS[1]) or ''
if standing ~= ARGV[1] then
    return standing
end
local i = 3
while i <= #ARGV do
    local letter, key = ARGV[i], KEYS[tonumber(ARGV[i + 1])]
    if letter == 'S' then
        redis.call('SET', key, ARGV[i + 2])
        i = i + 3
    elseif letter == 'Z' then
        local last = i + 2 + tonumber(ARGV[i + 2])
        redis.call('ZADD', key, unpack(ARGV, i + 3, last))
        i = last + 1
    elseif letter == 'z' then
        redis.call('ZREM', key, ARGV[i + 2])
        i = i + 3
    elseif letter == 'H' then
        redis.call('HSET', key, ARGV[i + 2], ARGV[i + 3])
        i = i + 4
    elseif letter == 'h' then
        redis.call('HDEL', key, ARGV[i + 2])
        i = i + 3
    elseif letter == 'X' then
        redis.call('XADD', key, 'MAXLEN', '=', ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
        i = i + 6
    elseif letter == 'D' then
        redis.call('DEL', key)
        i = i + 2
    else
        return redis.error_reply('unknown operation ' .. letter)
    end
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
