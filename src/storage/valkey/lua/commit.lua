-- Applies a list of changes to a record, whole or not at all. Everything is checked before the first write.
--
-- KEYS[1]  record (hash)
-- KEYS[2]  its log (list)             } given on a cluster, where the server must see every key of a call;
-- KEYS[3]  its lease (string)         } elsewhere derived from KEYS[1], which spares the client their bytes
-- KEYS[4]  answer of this commit id   }
-- ARGV[1]  token of the lease, or '' to commit whoever holds it
-- ARGV[2]  milliseconds to keep the lease for, or 0 to release it
-- ARGV[3]  commit id, or ''
-- ARGV[4]  1 when the index knows the record, so that it may be created
-- ARGV[5…] items, each a code with its operands, in this order: conditions, settings, changes
--   ?e 0|1          the record is absent | is there
--   ?v version      the record has this version (0: absent)
--   ?= field token  the field holds exactly this token
--   ?- field        the field is absent
--   es ttl          expires so many seconds from now, and keeps that as its own ttl; `none`: never
--   er ttl          expires so many seconds from now, or after its own ttl where it has one
--   max n           keeps only the newest n entries of the log
--   cap n           refuses more fields than n, unless it has as many already
--   s field token · r field · i field by · a field item · l n entry… · L (clear log) · F (clear fields) ·
--   o owner (encoded; '' removes it) · t (touch)
--
-- Returns  'version updatedAt expiresAt logTotal owner sum…'  applied (or applied before, by this commit id);
--                                        expiresAt 0: never; a sum for each incremented field, in their order
--          {} or {fields, log length, {}}  a condition does not hold; what is there instead
--          0                             the record is absent and ARGV[4] is not 1; nothing was done
-- Errors   LEASE_LOST <why> · WRONG_TYPE <ARGV index> · OVERFLOW <ARGV index> · FIELDS <count> · CORRUPT <why> · DENIED <command>
--
-- The system field '' of the record is the text `version createdAt updatedAt expiresAt ttl kept dropped owner`:
-- ttl is its own (`-` where it has none), kept and dropped count log entries, owner is encoded.
-- Values are opaque: only integers and the closing bracket of a list are looked at, never decoded.

local record = KEYS[1]
local log = KEYS[2] or record .. ':log'
local lease = KEYS[3] or record .. ':lease'
local token, keep, id = ARGV[1], ARGV[2], ARGV[3]
local done = id ~= '' and (KEYS[4] or record .. ':done:' .. id)
local EXACT = 9007199254740991
local CHUNK = 4000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A lease that is released by its commit cannot be had twice, so that there the id need not be looked up first.
if done and (token == '' or keep ~= '0') then
  local answer = redis.call('GET', done)
  if answer then return answer end
end

local next_token, next_ends = '-', 0
if token ~= '' then
  local holder, ends, waiter, waits = string.match(redis.call('GET', lease) or '', '^(%S+) (%d+) (%S+) (%d+)$')
  if holder ~= token or tonumber(ends) <= now then
    return done and redis.call('GET', done) or redis.error_reply('LEASE_LOST it ended, or was taken over')
  end
  next_token, next_ends = waiter, tonumber(waits)
end

local version, created, updated, expires, ttl, kept, dropped, owner = 0, now, now, 0, '-', 0, 0, ''
local system = redis.call('HGET', record, '')
local length = redis.call('LLEN', log)
if system then
  version, created, updated, expires, ttl, kept, dropped, owner =
    string.match(system, '^(%d+) (%d+) (%d+) (%d+) (%S+) (%d+) (%d+) (%S*)$')
  if not version then return redis.error_reply('CORRUPT the system field is not one of ours') end
  if length == 0 and kept ~= '0' then return redis.error_reply('CORRUPT the log is missing') end
  version, dropped, expires = tonumber(version), tonumber(dropped), tonumber(expires)
elseif redis.call('EXISTS', record) == 1 then
  return redis.error_reply('CORRUPT the system field is missing')
end

local function integer(text)
  if text == '0' then return 0 end
  if #text > 17 or not string.find(text, '^%-?[1-9]%d*$') then return nil end
  local number = tonumber(text)
  return number >= -EXACT and number <= EXACT and number or nil
end

-- What the changes make of the fields: a token, or false where the field is removed.
local fresh = {}
local cleared = false
local function value(field)
  local token_ = fresh[field]
  if token_ == nil and not cleared and system then return redis.call('HGET', record, field) end
  return token_
end

local sums, order = {}, {}
local pushes, clear_log = {}, false
local new_owner
local expiry, expiry_ttl, max, cap
local changed = false

local i, count = 5, #ARGV
while i <= count do
  local code = ARGV[i]
  if code == 's' then
    fresh[ARGV[i + 1]] = ARGV[i + 2]
    changed = true
    i = i + 3
  elseif code == 'l' then
    local n = tonumber(ARGV[i + 1])
    pushes[#pushes + 1] = { i + 2, i + 1 + n }
    changed = true
    i = i + 2 + n
  elseif code == 'i' then
    local field = ARGV[i + 1]
    local before = value(field)
    before = before and integer(before) or not before and 0 or nil
    if not before then return redis.error_reply('WRONG_TYPE ' .. i) end
    local sum = before + ARGV[i + 2]
    if sum < -EXACT or sum > EXACT then return redis.error_reply('OVERFLOW ' .. i) end
    if not sums[field] then order[#order + 1] = field end
    sums[field] = string.format('%.0f', sum)
    fresh[field] = sums[field]
    changed = true
    i = i + 3
  elseif code == 'a' then
    local list = value(ARGV[i + 1]) or '[]'
    if string.byte(list) ~= 91 then return redis.error_reply('WRONG_TYPE ' .. i) end
    fresh[ARGV[i + 1]] = (list == '[]' and '[' or string.sub(list, 1, -2) .. ',') .. ARGV[i + 2] .. ']'
    changed = true
    i = i + 3
  elseif code == 'r' then
    fresh[ARGV[i + 1]] = false
    changed = true
    i = i + 2
  elseif code == 'er' or code == 'es' then
    expiry, expiry_ttl = code, ARGV[i + 1]
    i = i + 2
  elseif code == 'max' then
    max = tonumber(ARGV[i + 1])
    i = i + 2
  elseif code == 'cap' then
    cap = tonumber(ARGV[i + 1])
    i = i + 2
  elseif code == 'o' then
    new_owner = ARGV[i + 1]
    changed = true
    i = i + 2
  elseif code == 't' then
    changed = true
    i = i + 1
  elseif code == 'L' then
    pushes, clear_log = {}, true
    changed = true
    i = i + 1
  elseif code == 'F' then
    fresh, cleared = {}, true
    changed = true
    i = i + 1
  else
    local holds
    if code == '?e' then
      holds = (ARGV[i + 1] == '1') == (system ~= false)
      i = i + 2
    elseif code == '?v' then
      holds = tonumber(ARGV[i + 1]) == version
      i = i + 2
    elseif code == '?=' then
      holds = value(ARGV[i + 1]) == ARGV[i + 2]
      i = i + 3
    elseif code == '?-' then
      holds = not value(ARGV[i + 1])
      i = i + 2
    else
      return redis.error_reply('ERR unknown item ' .. code)
    end
    if not holds then
      if not system then return {} end
      return { redis.call('HGETALL', record), length, {} }
    end
  end
end

local writing = changed or expiry
if writing and not system and ARGV[4] ~= '1' then return 0 end

local sets, removals = {}, {}
for field, token_ in pairs(fresh) do
  if token_ then
    sets[#sets + 1] = field
    sets[#sets + 1] = token_
  elseif system and not cleared then
    removals[#removals + 1] = field
  end
end

if cap then
  local had = system and redis.call('HLEN', record) - 1 or 0
  local base = cleared and 0 or had
  if base + #sets / 2 > cap then
    local total = base
    for field, token_ in pairs(fresh) do
      local there = base > 0 and redis.call('HEXISTS', record, field) == 1
      if token_ and not there then total = total + 1 elseif not token_ and there then total = total - 1 end
    end
    if total > cap and total > had then return redis.error_reply('FIELDS ' .. total) end
  end
end

-- A user who may run only some of the commands would leave a commit half done.
local may = redis.acl_check_cmd
if may then
  local denied
  if writing then
    if not may('HSET', record, '', '') then denied = 'HSET' end
    if #pushes > 0 and not may('RPUSH', log, '') then denied = 'RPUSH' end
    if max and not may('LTRIM', log, '0', '0') then denied = 'LTRIM' end
    if #removals > 0 and not may('HDEL', record, '') then denied = 'HDEL' end
    if (cleared or clear_log or not system and length > 0) and not may('UNLINK', record, log) then denied = 'UNLINK' end
    if not may('PEXPIREAT', record, '0') then denied = 'PEXPIREAT' end
    if expiry and not may('PERSIST', record) then denied = 'PERSIST' end
  end
  if (done or token ~= '') and not may('SET', lease, '') then denied = 'SET' end
  if token ~= '' and not may('DEL', lease) then denied = 'DEL' end
  if denied then return redis.error_reply('DENIED ' .. denied) end
end

if writing then
  local pushed = 0
  for _, range in ipairs(pushes) do pushed = pushed + range[2] - range[1] + 1 end
  local before = length
  if clear_log or not system then before, dropped = 0, 0 end
  local after = before + pushed
  local over = max and after > max and after - max or 0
  dropped = dropped + over

  local expires_before = expires
  if expiry then
    if expiry == 'es' then ttl = expiry_ttl end
    local seconds = ttl == '-' and expiry_ttl or ttl
    expires = seconds == 'none' and 0 or now + seconds * 1000
  end
  version, updated = version + 1, now
  if new_owner then owner = new_owner end
  kept = after - over

  sets[#sets + 1] = ''
  sets[#sets + 1] = version .. ' ' .. created .. ' ' .. now .. ' ' .. expires .. ' ' .. ttl
    .. ' ' .. kept .. ' ' .. dropped .. ' ' .. owner

  if cleared and system then redis.call('UNLINK', record) end
  for from = 1, #removals, CHUNK do
    redis.call('HDEL', record, unpack(removals, from, math.min(from + CHUNK - 1, #removals)))
  end
  for from = 1, #sets, CHUNK do
    redis.call('HSET', record, unpack(sets, from, math.min(from + CHUNK - 1, #sets)))
  end
  if length > 0 and before == 0 then redis.call('UNLINK', log) end
  for _, range in ipairs(pushes) do
    for from = range[1], range[2], CHUNK do
      redis.call('RPUSH', log, unpack(ARGV, from, math.min(from + CHUNK - 1, range[2])))
    end
  end
  if over > 0 then redis.call('LTRIM', log, over, -1) end

  if expires ~= 0 then
    if expires ~= expires_before or cleared then redis.call('PEXPIREAT', record, expires) end
    if kept > 0 and (expires ~= expires_before or before == 0) then redis.call('PEXPIREAT', log, expires) end
  elseif expires_before ~= 0 then
    redis.call('PERSIST', record)
    redis.call('PERSIST', log)
  end
  length = kept
elseif not system then
  length = 0
end

local answer = version .. ' ' .. updated .. ' ' .. expires .. ' ' .. dropped + length .. ' ' .. owner
for _, field in ipairs(order) do answer = answer .. ' ' .. sums[field] end

-- A lease must come free even where there is no memory left to note that it did.
local note = writing and redis.call or redis.pcall
if done then note('SET', done, answer, 'PX', 60000) end
if token ~= '' then
  if keep ~= '0' then
    local text = token .. ' ' .. now + keep .. ' ' .. next_token .. ' ' .. next_ends
    redis.call('SET', lease, text, 'PX', math.max(keep, next_ends - now))
  else
    local noted = next_ends > now and note('SET', lease, '- 0 ' .. next_token .. ' ' .. next_ends, 'PX', next_ends - now)
    if not noted or noted.err then redis.call('DEL', lease) end
  end
end
return answer
