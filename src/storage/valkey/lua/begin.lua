-- Takes the lease of a record, existing or not, and returns its snapshot.
--
-- KEYS[1]  record (hash)
-- KEYS[2]  its log (list)      } given on a cluster, where the server must see every key of a call;
-- KEYS[3]  its lease (string)  } elsewhere derived from KEYS[1], which spares the client their bytes
-- KEYS[4]  its replies (hash)  }
-- ARGV[1]  token of the one who asks, without white space
-- ARGV[2]  milliseconds until the lease ends by itself
-- ARGV[3]  how many of the newest log entries to return
-- ARGV[4]  milliseconds for which a refused token keeps its place
-- ARGV[5]  an idempotency key, where one is asked for
--
-- Returns  integer            refused; the milliseconds until the lease, or the other's place, ends
--          {}                 granted; there is no such record
--          {fields, entries, reply}  granted; `fields` is name, token, name, token …, with the system field '';
--                             `entries` one a line; `reply` only where something was left under the idempotency
--                             key
-- Errors   CORRUPT <why>
--
-- A lease is its holder's token; or once somebody has been refused the words `token ends next nextEnds`: who holds it
-- (`-` nobody), until when, who may have it next, how long that place is kept, in epoch milliseconds of this server.
-- The key ends with the lease, or with the place.

local call, format = redis.call, string.format
local record = KEYS[1]
local log = KEYS[2] or record .. ':log'
local lease = KEYS[3] or record .. ':lease'
local token = ARGV[1]

local value = token
local text = call('GET', lease)
if text and text ~= token then
  local time = call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local holder, ends, waiter, waits = string.match(text, '^(%S+) (%d+) (%S+) (%d+)$')
  if holder then
    ends, waits = tonumber(ends), tonumber(waits)
  else
    holder, ends, waiter, waits = text, now + call('PTTL', lease), '-', 0
  end
  local held, reserved = ends > now, waits > now
  if holder == token or not held and (not reserved or waiter == token) then
    -- Whoever waits keeps the place.
    if reserved and waiter ~= token then value = format('%s %d %s %d', token, now + ARGV[2], waiter, waits) end
  else
    if not reserved or waiter == token then
      waits = now + ARGV[4]
      value = format('%s %d %s %d', holder, ends, token, waits)
      call('SET', lease, value, 'PX', format('%d', math.max(ends, waits) - now))
    end
    return math.max(1, (held and ends or waits) - now)
  end
end

local fields = call('HGETALL', record)
local entries
if #fields > 0 then
  local system = fields[1] == '' and fields[2] or call('HGET', record, '')
  if not system or not string.find(system, '^%d+ %d+ %d+ %d+ %d+ %S+ %d+ ') then
    return redis.error_reply('CORRUPT the system field is missing, or not one of ours')
  end
  local list = ARGV[3] == '0' and {} or call('LRANGE', log, '-' .. ARGV[3], '-1')
  -- One long text costs the client a third of what many short ones do; no entry holds a line feed.
  entries = table.concat(list, '\n')
  if #list == 0 and string.find(system, '^%d+ %d+ %d+ [1-9]') and call('LLEN', log) == 0 then
    return redis.error_reply('CORRUPT the log is missing')
  end
end

call('SET', lease, value, 'PX', ARGV[2])

if not entries then return {} end
if ARGV[5] then return { fields, entries, call('HGET', KEYS[4] or record .. ':replies', '=' .. ARGV[5]) or nil } end
return { fields, entries }
