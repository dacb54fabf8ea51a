-- Applies a list of changes to a record, whole or not at all. Everything is checked before the first write.
--
-- KEYS[1]  record (hash)
-- KEYS[2]  its log (list)             } given on a cluster, where the server must see every key of a call;
-- KEYS[3]  its lease (string)         } elsewhere derived from KEYS[1], which spares the client their bytes
-- KEYS[4]  its replies (hash)         }
-- KEYS[5]  answer of this commit id   }  (only for commits that do not release a lease)
-- ARGV[1]  token of the lease, or '' to commit whoever holds it
-- ARGV[2]  milliseconds to keep the lease for, or 0 to release it
-- ARGV[3]  commit id, `=` where that is the token, or ''
-- ARGV[4]  1 when the index knows the record and its owner, so that it may be created, and the owner be set
-- ARGV[5…] items, each a code with its operands, in this order: conditions, settings, changes
--   ?e 0|1          the record is absent | is there
--   ?v version      the record has this version (0: absent)
--   ?o owner        the record is of this owner (encoded; '': of none, or absent)
--   ?k key reply n  nothing was left under this idempotency key; `reply` is then, and the newest n are kept
--   ?= field token  the field holds exactly this token
--   ?- field        the field is absent
--   es ttl          expires so many seconds from now, and keeps that as its own ttl; `none`: never
--   er ttl          expires so many seconds from now, or after its own ttl where it has one
--   c created updated expires ttl dropped
--                   these attributes, of a record from elsewhere; a log that is cleared begins at `dropped`
--   k n key reply…  these n are the replies that are kept from now on, oldest first; not together with ?k
--   max n           keeps only the newest n entries of the log
--   cap n           refuses more fields than n, unless it has as many already
--   n token ms log key
--                   the lease, if it is released and nobody waits for it, goes to this token for so many milliseconds;
--                   the answer has so many of the newest entries, and the reply under this idempotency key, '' for none
--   s field token · r field · i field by · a field item · l n entry… · L (clear log) · F (clear fields) ·
--   o owner (encoded; '' removes it) · t (touch)
--
-- Returns  the system field, then a space and the sum for each incremented field, in their order: applied, or
--            applied before by this commit id
--          {the same, fields, entries, reply}  applied, and the lease passed on; the rest is as in begin.lua
--          {} or {fields, {}, reply}  a condition does not hold; what is there instead
--          0                   the record is absent, or of another owner, and ARGV[4] is not 1; nothing was done
-- Errors   LEASE_LOST <why> · WRONG_TYPE <ARGV index> · OVERFLOW <ARGV index> · FIELDS <count> · CORRUPT <why> ·
--          DENIED <command>
--
-- The system field '' of a record is the text `version updatedAt expiresAt kept dropped ttl createdAt owner`: times
-- in epoch milliseconds of this server, expiresAt 0 for never, counts of log entries, its own ttl (`-` where it has
-- none), owner encoded. Behind it may stand, for the last commit that released a lease, `|commit-id sum…`, and for
-- those before it, as far as other processes may still ask, `;commit-id answer` each. `| ;…`: others have written
-- since, so that the answer of the last is no longer what stands before it. The lease is described in begin.lua.
-- Values are opaque: only integers and the closing bracket of a list are looked at, never decoded. Numbers are
-- turned into text by format('%d'), which costs a tenth of what Lua does by itself.

local call, format = redis.call, string.format
local record, token, keep, id = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if id == '=' then id = token end
local log = KEYS[2] or record .. ':log'
local replies = KEYS[4] or record .. ':replies'
local lease = KEYS[3] or record .. ':lease'
local done = id ~= '' and (KEYS[5] or record .. ':done:' .. id)
local EXACT = 9007199254740991
local CHUNK = 4000
-- Bytes of earlier answers that a record keeps, some four of them; and the milliseconds for which others may ask.
local REMEMBERED = 400
local STILL_ASKED = 10000

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Answers are remembered, so that a commit sent again is not done again: those of the last commits that released a
-- lease in the record, as a lease cannot be had twice; the others under keys of their own. An answer given again is a write as
-- well: WAIT speaks of the writes of its own connection, and the commit may have come by another.
local releasing = token ~= '' and keep == '0'
if done and not releasing then
  local answer = call('GET', done)
  if answer then
    call('PEXPIREAT', done, format('%d', now + 60000))
    return answer
  end
end

local waiter, waits, lost = '-', 0, false
if token ~= '' then
  local text = call('GET', lease)
  if text ~= token then
    local holder, ends, next_token, next_ends
    if text then holder, ends, next_token, next_ends = string.match(text, '^(%S+) (%d+) (%S+) (%d+)$') end
    lost = holder ~= token or tonumber(ends) <= now
    if not lost then waiter, waits = next_token, tonumber(next_ends) end
  end
end

local system = call('HGET', record, '')
local bar = system and string.find(system, '|', 1, true)
local tail = bar and string.sub(system, bar) or ''
if lost then
  local said
  if done and string.find(tail, '|' .. id .. ' ', 1, true) == 1 then
    said = string.sub(system, 1, bar - 1) .. string.match(tail, '^[^;]*', #id + 3)
  elseif done then
    local _, last = string.find(tail, ';' .. id .. ' ', 1, true)
    said = last and string.match(tail, '^[^;]*', last + 1)
  end
  if said then
    call('HSET', record, '', system)
    return said
  end
  return redis.error_reply('LEASE_LOST it ended, or was taken over')
end
if bar then system = string.sub(system, 1, bar - 1) end
local length = call('LLEN', log)
local version, expires, kept, dropped, rest = 0, 0, 0, 0, nil
if system then
  version, expires, kept, dropped, rest = string.match(system, '^(%d+) %d+ (%d+) (%d+) (%d+) (.*)$')
  if not version then return redis.error_reply('CORRUPT the system field is not one of ours') end
  if length == 0 and kept ~= '0' then return redis.error_reply('CORRUPT the log is missing') end
  expires = tonumber(expires)
elseif call('EXISTS', record) == 1 then
  return redis.error_reply('CORRUPT the system field is missing')
end

-- What the changes make of the fields: a token, or false where the field is removed.
local fresh, cleared = {}, false
local sums, order
local pushes, pushed, clear_log = nil, 0, false
local owner, expiry, ttl, max, cap, work, carried, moved, pass
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
    pushes = pushes or {}
    pushes[#pushes + 1] = i + 2
    pushes[#pushes + 1] = i + 1 + n
    pushed = pushed + n
    changed = true
    i = i + 2 + n
  elseif code == 'i' or code == 'a' or code == '?=' or code == '?-' then
    local field = ARGV[i + 1]
    local present = fresh[field]
    if present == nil and system and not cleared then present = call('HGET', record, field) end
    if code == 'i' then
      local before = 0
      if present and present ~= '0' then
        before = #present < 18 and string.find(present, '^%-?[1-9]%d*$') and tonumber(present)
        if not before or before > EXACT or before < -EXACT then return redis.error_reply('WRONG_TYPE ' .. i) end
      end
      local sum = before + ARGV[i + 2]
      if sum > EXACT or sum < -EXACT then return redis.error_reply('OVERFLOW ' .. i) end
      sums, order = sums or {}, order or {}
      if not sums[field] then order[#order + 1] = field end
      sums[field] = format('%d', sum)
      fresh[field] = sums[field]
      changed = true
      i = i + 3
    elseif code == 'a' then
      if not present or present == '[]' then
        fresh[field] = '[' .. ARGV[i + 2] .. ']'
      elseif string.byte(present) == 91 then
        fresh[field] = string.sub(present, 1, -2) .. ',' .. ARGV[i + 2] .. ']'
      else
        return redis.error_reply('WRONG_TYPE ' .. i)
      end
      changed = true
      i = i + 3
    else
      local holds = not present
      if code == '?=' then
        holds = present == ARGV[i + 2]
        i = i + 1
      end
      if not holds then return system and { call('HGETALL', record), {} } or {} end
      i = i + 2
    end
  elseif code == 'er' or code == 'es' then
    expiry, ttl = code, ARGV[i + 1]
    i = i + 2
  elseif code == 'c' then
    carried = i
    changed = true
    i = i + 6
  elseif code == 'k' then
    moved = i
    i = i + 2 + 2 * ARGV[i + 1]
  elseif code == 'max' then
    max = tonumber(ARGV[i + 1])
    i = i + 2
  elseif code == 'cap' then
    cap = tonumber(ARGV[i + 1])
    i = i + 2
  elseif code == 'n' then
    pass = i
    i = i + 5
  elseif code == 'r' then
    fresh[ARGV[i + 1]] = false
    changed = true
    i = i + 2
  elseif code == 'o' then
    owner = ARGV[i + 1]
    changed = true
    i = i + 2
  elseif code == 't' then
    changed = true
    i = i + 1
  elseif code == 'L' then
    pushes, pushed, clear_log = nil, 0, true
    changed = true
    i = i + 1
  elseif code == 'F' then
    fresh, cleared = {}, true
    changed = true
    i = i + 1
  elseif code == '?k' then
    work = i
    local reply = system and call('HGET', replies, '=' .. ARGV[i + 1])
    if reply then return { call('HGETALL', record), {}, reply } end
    changed = true
    i = i + 4
  elseif code == '?e' or code == '?v' or code == '?o' then
    local holds = tonumber(ARGV[i + 1]) == tonumber(version)
    if code == '?e' then
      holds = (ARGV[i + 1] == '1') == (system ~= false)
    elseif code == '?o' then
      holds = ARGV[i + 1] == (system and string.match(rest, ' (%S*)$') or '')
    end
    if not holds then return system and { call('HGETALL', record), {} } or {} end
    i = i + 2
  else
    return redis.error_reply('ERR unknown item ' .. code)
  end
end

local writing = changed or expiry
if writing and ARGV[4] ~= '1' and not (system and (not owner or string.match(rest, ' (%S*)$') == owner)) then
  return 0
end

local sets, size = { '', '' }, 2
local removals
for field, value in pairs(fresh) do
  if value then
    sets[size + 1], sets[size + 2] = field, value
    size = size + 2
  elseif system and not cleared then
    removals = removals or {}
    removals[#removals + 1] = field
  end
end

if cap then
  local had = system and call('HLEN', record) - 1 or 0
  local base = cleared and 0 or had
  if base + size / 2 - 1 > cap then
    local total = base
    for field, value in pairs(fresh) do
      local there = base > 0 and call('HEXISTS', record, field) == 1
      if value and not there then total = total + 1 elseif not value and there then total = total - 1 end
    end
    if total > cap and total > had then return redis.error_reply('FIELDS ' .. total) end
  end
end

local total = ''
for k = 1, order and #order or 0 do total = total .. ' ' .. sums[order[k]] end

local answer, before, over, at = system, length, 0, nil
local expires_before = expires
if writing then
  if clear_log or not system then before, dropped = 0, carried and clear_log and tonumber(ARGV[carried + 5]) or 0 end
  if max and before + pushed > max then over = before + pushed - max end
  kept = before + pushed - over
  dropped = dropped + over
  local written = now
  if carried then
    written = tonumber(ARGV[carried + 2])
    expires = tonumber(ARGV[carried + 3])
    local owned = owner or rest and string.match(rest, ' (%S*)$') or ''
    rest = ARGV[carried + 4] .. ' ' .. ARGV[carried + 1] .. ' ' .. owned
  elseif not system then
    rest = format('%s %d %s', expiry == 'es' and ttl or '-', now, owner or '')
  elseif expiry == 'es' or owner then
    local own, created, owned = string.match(rest, '^(%S+) (%d+) (%S*)$')
    rest = (expiry == 'es' and ttl or own) .. ' ' .. created .. ' ' .. (owner or owned)
  end
  if expiry then
    -- Its own ttl, where it has one, goes before that of a renewal.
    if expiry == 'er' and string.byte(rest) ~= 45 then ttl = string.match(rest, '^%S+') end
    expires = ttl == 'none' and 0 or now + ttl * 1000
  end
  if expires ~= 0 then at = format('%d', expires) end
  answer = format('%d %d %s %d %d %s', version + 1, written, at or '0', kept, dropped, rest)
end

-- A user who may run only some of the commands would leave a commit half done. The first of them tells by itself.
local may = redis.acl_check_cmd
if may then
  local denied
  if writing then
    if cleared or clear_log or moved or not system and length > 0 then
      if not may('UNLINK', record, log, replies) then denied = 'UNLINK' end
    end
    if (cleared or removals) and not may('HSET', record, '', '') then denied = 'HSET' end
    if (work or moved) and not may('HSET', replies, '', '') then denied = 'HSET' end
    if (removals or work) and not may('HDEL', record, '') then denied = 'HDEL' end
    if pushes and not may('RPUSH', log, '') then denied = 'RPUSH' end
    if over > 0 and not may('LTRIM', log, '0', '0') then denied = 'LTRIM' end
    if at and not may('PEXPIREAT', record, '0') then denied = 'PEXPIREAT' end
    if not at and expires_before ~= 0 and not may('PERSIST', record) then denied = 'PERSIST' end
    if (done or token ~= '') and not may('SET', lease, '') then denied = 'SET' end
  end
  if releasing and not may('DEL', lease) then denied = 'DEL' end
  if denied then return redis.error_reply('DENIED ' .. denied) end
end

if writing then
  if cleared and system then call('UNLINK', record) end
  for from = 1, removals and #removals or 0, CHUNK do
    call('HDEL', record, unpack(removals, from, math.min(from + CHUNK - 1, #removals)))
  end
  if done and releasing then
    local last, its_total, others = string.match(tail, '^|(%S*) ([^;]*)(.*)$')
    -- A process begins no turn before it knows what became of its last one; another may still ask for its answer.
    local asked = others and others ~= '' and string.match(others, '^;%S+ %d+ (%d+)')
    if not asked or tonumber(asked) < now - STILL_ASKED then others = '' end
    if last and last ~= '' and string.sub(last, 1, 8) ~= string.sub(id, 1, 8) then
      others = ';' .. last .. ' ' .. system .. its_total .. others
      if #others > REMEMBERED then others = string.match(string.sub(others, 1, REMEMBERED), '^(.*);') end
    end
    tail = '|' .. id .. ' ' .. total .. others
  elseif bar and string.byte(tail, 2) ~= 32 then
    local last, its_total, others = string.match(tail, '^|(%S+) ([^;]*)(.*)$')
    tail = '| ;' .. last .. ' ' .. system .. its_total .. others
  end
  sets[2] = answer .. tail
  for from = 1, size, CHUNK do
    call('HSET', record, unpack(sets, from, math.min(from + CHUNK - 1, size)))
  end
  if length > 0 and before == 0 then call('UNLINK', log) end
  for k = 1, pushes and #pushes or 0, 2 do
    for from = pushes[k], pushes[k + 1], CHUNK do
      call('RPUSH', log, unpack(ARGV, from, math.min(from + CHUNK - 1, pushes[k + 1])))
    end
  end
  if over > 0 then call('LTRIM', log, format('%d', over), '-1') end
  -- What is left there while there is no record has outlived it, by being evicted later.
  if moved or not system then call('UNLINK', replies) end
  -- '' holds `first next`: the numbers of the oldest and of the next of the keys, which stand under '#number'.
  local brought = moved and tonumber(ARGV[moved + 1]) or 0
  for k = 1, brought do
    local entry = moved + 2 * k
    call('HSET', replies, format('#%d', k), ARGV[entry], '=' .. ARGV[entry], ARGV[entry + 1])
  end
  if brought > 0 then call('HSET', replies, '', format('1 %d', brought + 1)) end
  if work then
    local first, next_one = string.match(call('HGET', replies, '') or '1 1', '^(%d+) (%d+)$')
    first, next_one = tonumber(first), tonumber(next_one)
    local number = format('#%d', next_one)
    next_one = next_one + 1
    while next_one - first > tonumber(ARGV[work + 3]) do
      local old = format('#%d', first)
      call('HDEL', replies, old, '=' .. (call('HGET', replies, old) or ''))
      first = first + 1
    end
    call('HSET', replies, '', format('%d %d', first, next_one), number, ARGV[work + 1], '=' .. ARGV[work + 1], ARGV[work + 2])
  end

  if at then
    if expires ~= expires_before or cleared then call('PEXPIREAT', record, at) end
    if kept > 0 and (expires ~= expires_before or before == 0) then call('PEXPIREAT', log, at) end
    if work or brought > 0 or (system and expires ~= expires_before) then call('PEXPIREAT', replies, at) end
  elseif expires_before ~= 0 then
    call('PERSIST', record)
    call('PERSIST', log)
    call('PERSIST', replies)
  end
elseif not system then
  answer = format('0 %d 0 0 0 - %d ', now, now)
end

answer = answer .. total

-- A lease must come free even where there is no memory left to note that it did.
local note = writing and call or redis.pcall
if done and not releasing then note('SET', done, answer, 'PX', '60000') end
if token ~= '' then
  local ahead = waits - now
  if not releasing then
    if ahead > 0 then token = format('%s %d %s %d', token, now + keep, waiter, waits) end
    call('SET', lease, token, 'PX', ahead > tonumber(keep) and format('%d', ahead) or keep)
  elseif pass and ahead <= 0 and not note('SET', lease, ARGV[pass + 1], 'PX', ARGV[pass + 2]).err then
    local fields, count = call('HGETALL', record), ARGV[pass + 3]
    if #fields == 0 then return { answer, {} } end
    local entries = count == '0' and '' or table.concat(call('LRANGE', log, '-' .. count, '-1'), '\n')
    local key = ARGV[pass + 4]
    return { answer, fields, entries, key ~= '' and call('HGET', replies, '=' .. key) or nil }
  else
    local noted = ahead > 0 and note('SET', lease, format('- 0 %s %d', waiter, waits), 'PX', format('%d', ahead))
    if not noted or noted.err then call('DEL', lease) end
  end
end
return answer
