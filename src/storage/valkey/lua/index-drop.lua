-- Removes entries from the index of a space whose records are gone, unless somebody has touched them since.
--
-- KEYS[1]  members by name (sorted set)
-- KEYS[2]  members by the time of their last write (sorted set)
-- KEYS[3]  members by the moment their entry is due for a look (sorted set)
-- KEYS[4]  `owner member` (sorted set)
-- KEYS[5]  member → its owners in KEYS[4], separated by spaces (hash)
-- KEYS[6…] for each member: the members of its container by time; KEYS[2] again where that is the whole space
-- ARGV[1]  milliseconds: an entry that is due within them may announce a record that is just being made, and stays
-- ARGV[2…] member, due moment at which it was seen, for each
--
-- Returns  how many were removed

local names, times, dues, owners, owners_of = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local removed = 0
for i = 2, #ARGV, 2 do
  local member = ARGV[i]
  local due = tonumber(redis.call('ZSCORE', dues, member) or nil)
  local seen = tonumber(ARGV[i + 1])
  if due and due == seen and (due <= now or due > now + ARGV[1]) then
    for owner in string.gmatch(redis.call('HGET', owners_of, member) or '', '%S+') do
      redis.call('ZREM', owners, owner .. ' ' .. member)
    end
    redis.call('HDEL', owners_of, member)
    local container = KEYS[5 + i / 2]
    if container ~= times then redis.call('ZREM', container, member) end
    redis.call('ZREM', times, member)
    redis.call('ZREM', names, member)
    redis.call('ZREM', dues, member)
    removed = removed + 1
  end
end
return removed
