-- Enters a record into the index of its space, and tells which entries should be looked at again.
--
-- An entry is only ever a hint: who reads the index looks at the record itself. What must not happen is a record
-- without an entry. So the entry is made before the record (`announce`), set right after (`confirm`), and removed
-- only after its due moment has passed, or its record was deleted, and nobody has touched the entry since.
--
-- KEYS[1]  members by name (sorted set, all scores 0)
-- KEYS[2]  members by the time of their last write (sorted set, epoch milliseconds)
-- KEYS[3]  the same for the member's container alone; KEYS[2] again where that is the whole space
-- KEYS[4]  members by the moment their entry is due for a look (sorted set, epoch milliseconds)
-- KEYS[5]  `owner member` (sorted set, all scores 0)
-- KEYS[6]  member → its owners in KEYS[5], separated by spaces (hash)
-- ARGV[1]  member
-- ARGV[2]  owner (encoded), or ''
-- ARGV[3]  `announce`: the record may be about to be made; else the time of its last write, epoch milliseconds with
--          the version behind the point
-- ARGV[4]  the moment at which the entry is due, epoch milliseconds; with a `+` milliseconds from now
-- ARGV[5]  at most so many due entries are told
-- ARGV[6]  with `announce`: the time that a new entry gets, where it is not now: of a record brought from elsewhere
--
-- Returns  member, due, member, due … of entries that are due

local names, times, container, dues, owners, owners_of = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local member, owner = ARGV[1], ARGV[2]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local due = tonumber(ARGV[4])
if string.byte(ARGV[4]) == 43 then due = now + due end

local listed = redis.call('HGET', owners_of, member) or ''
local wanted = owner
local announce = ARGV[3] == 'announce'
-- A commit that was answered again, or whose word was overtaken by that of a later one, must not undo the later one.
local seen = not announce and redis.call('ZSCORE', times, member)
if announce or (seen and tonumber(seen) > tonumber(ARGV[3])) then
  local first = ARGV[6] or now
  redis.call('ZADD', times, 'NX', first, member)
  if container ~= times then redis.call('ZADD', container, 'NX', first, member) end
  wanted = listed
  if owner ~= '' and not string.find(' ' .. listed .. ' ', ' ' .. owner .. ' ', 1, true) then
    wanted = listed == '' and owner or listed .. ' ' .. owner
  end
else
  redis.call('ZADD', times, ARGV[3], member)
  if container ~= times then redis.call('ZADD', container, ARGV[3], member) end
end
redis.call('ZADD', names, 0, member)

if wanted ~= listed then
  for old in string.gmatch(listed, '%S+') do redis.call('ZREM', owners, old .. ' ' .. member) end
  for new in string.gmatch(wanted, '%S+') do redis.call('ZADD', owners, 0, new .. ' ' .. member) end
  if wanted == '' then redis.call('HDEL', owners_of, member) else redis.call('HSET', owners_of, member, wanted) end
end

-- The due moment also tells two states of an entry apart, so that it never stays the same.
local before = redis.call('ZSCORE', dues, member)
if before and tonumber(before) == due then due = due + 1 end
redis.call('ZADD', dues, due, member)

if ARGV[5] == '0' then return {} end
return redis.call('ZRANGE', dues, '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[5], 'WITHSCORES')
