-- Writes one partition's documents and its checkpoint, if and only if the stored checkpoint is the one that the
-- caller started from.
--
-- The checkpoint names the last event that the partition's documents include, and the definition and build that
-- wrote them. A caller folds the events after it and passes the result to this script. If another writer was
-- faster (a second projector, this one's own repeated call, a builder that took over), or if Redis lost its most
-- recent writes, the checkpoint differs: the script changes nothing and returns the stored checkpoint, and the
-- caller drops its cache of the partition and folds again from there. So each event is applied exactly once,
-- whichever process writes it, and no lock is needed. Redis runs a script to its end before any other command,
-- so that readers see all of its writes or none; calls are small because every other client waits meanwhile.
--
-- KEYS[1] is the checkpoint; then come the keys of string documents, then one key for each other operation; all
-- share one hash tag. ARGV[1] is the expected checkpoint, empty for none; ARGV[2] the new one; ARGV[3] the number
-- of documents, followed by their values; then the operations: a letter and its arguments (for Z, H and X: their
-- number, then ranks and members, fields and values, or ids, fields and values). The script never decodes values. It
-- writes the documents last, with the checkpoint: an operation may have deleted their keys.
local stored = redis.call('GET', KEYS[1]) or ''
if stored ~= ARGV[1] then
    return stored
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
        local last = i + 1 + tonumber(ARGV[i + 1])
        redis.call('HSET', key, unpack(ARGV, i + 2, last))
        i = last + 1
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
