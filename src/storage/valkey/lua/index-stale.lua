-- Members of a space by the time of their last write, oldest first.
--
-- KEYS[1]  members by the time of their last write (sorted set): of the space, or of one container
-- KEYS[2]  members by the moment their entry is due for a look (sorted set)
-- ARGV[1]  only written at or after this moment, epoch milliseconds or `-inf`
-- ARGV[2]  only written before this moment
-- ARGV[3]  at most so many
--
-- Returns  member, time, due, for each

local found = redis.call('ZRANGE', KEYS[1], ARGV[1], '(' .. ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
local answer = {}
for i = 1, #found, 2 do
  answer[#answer + 1] = found[i]
  answer[#answer + 1] = found[i + 1]
  answer[#answer + 1] = redis.call('ZSCORE', KEYS[2], found[i]) or '0'
end
return answer
