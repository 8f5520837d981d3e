-- What some users say of one movie: profile, rank and review of each, with their partition's checkpoint as of the same moment.
--
-- KEYS[1] the checkpoint; then of each user the profile, the sorted set of their ratings, and the hash of their reviews.
-- ARGV[1] the movie.
-- Three values for each user; false for what there is not, an error for a key of another type.
local found = {}
for i = 2, #KEYS, 3 do
    found[#found + 1] = redis.pcall('GET', KEYS[i])
    found[#found + 1] = redis.pcall('ZSCORE', KEYS[i + 1], ARGV[1])
    found[#found + 1] = redis.pcall('HGET', KEYS[i + 2], ARGV[1])
end
return { redis.call('GET', KEYS[1]), found }
