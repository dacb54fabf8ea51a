-- Takes the lease of a record, existing or not, and returns its snapshot.
--
-- KEYS[1]  record (hash)
-- KEYS[2]  its log (list)      } given on a cluster, where the server must see every key of a call;
-- KEYS[3]  its lease (string)  } elsewhere derived from KEYS[1], which spares the client their bytes
-- ARGV[1]  token of the one who asks, without white space
-- ARGV[2]  milliseconds until the lease ends by itself
-- ARGV[3]  how many of the newest log entries to return
-- ARGV[4]  milliseconds for which a refused token keeps its place
--
-- Returns  integer                        refused; the milliseconds until the lease, or the other's place, ends
--          {}                             granted; there is no such record
--          {fields, log length, entries}  granted; `fields` as HGETALL gives them, with the system field ''
-- Errors   CORRUPT <why>
--
-- The lease is the text `token ends next nextEnds`: who holds it, until when, who may have it next, how long that
-- place is kept; `-` and 0 where there is nobody. Times are epoch milliseconds of this server.

local record = KEYS[1]
local log = KEYS[2] or record .. ':log'
local lease = KEYS[3] or record .. ':lease'
local token = ARGV[1]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local next_token, next_ends = '-', 0
local text = redis.call('GET', lease)
if text then
  local holder, ends, waiter, waits = string.match(text, '^(%S+) (%d+) (%S+) (%d+)$')
  if not holder then return redis.error_reply('CORRUPT the lease is not one of ours') end
  ends, next_token, next_ends = tonumber(ends), waiter, tonumber(waits)
  if holder ~= token then
    local held = ends > now
    local reserved = next_ends > now
    if held or (reserved and next_token ~= token) then
      if not reserved or next_token == token then
        next_ends = now + ARGV[4]
        local left = math.max(ends, next_ends) - now
        redis.call('SET', lease, holder .. ' ' .. ends .. ' ' .. token .. ' ' .. next_ends, 'PX', left)
      end
      return math.max(1, (held and ends or next_ends) - now)
    end
  end
  if next_token == token then next_token, next_ends = '-', 0 end
end

local fields = redis.call('HGETALL', record)
local length, entries
if #fields > 0 then
  length = redis.call('LLEN', log)
  local system = redis.call('HGET', record, '')
  if not system then return redis.error_reply('CORRUPT the system field is missing') end
  if length == 0 and string.find(system, '^%d+ %d+ %d+ %d+ %S+ [1-9]') then
    return redis.error_reply('CORRUPT the log is missing')
  end
  entries = ARGV[3] == '0' and {} or redis.call('LRANGE', log, -ARGV[3], -1)
end

redis.call('SET', lease, token .. ' ' .. now + ARGV[2] .. ' ' .. next_token .. ' ' .. next_ends, 'PX', ARGV[2])

if not length then return {} end
return { fields, length, entries }
