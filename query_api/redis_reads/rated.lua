-- Returns profile, rank and review of users of one partition for one movie, with the partition's checkpoint of the
-- same moment.
--
-- KEYS[1] is the checkpoint; then come each user's profile, sorted set of ratings, and hash of reviews. ARGV[1] is
-- the movie. The script returns three values for each user: false for a missing one, an error for a key of another
-- type.
local found = {}
for i = 2, #KEYS, 3 do
    found[#found + 1] = redis.pcall('GET', KEYS[i])
    found[#found + 1] = redis.pcall('ZSCORE', KEYS[i + 1], ARGV[1])
    found[#found + 1] = redis.pcall('HGET', KEYS[i + 2], ARGV[1])
end
return { redis.call('GET', KEYS[1]), found }
