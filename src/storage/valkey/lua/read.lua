-- Reads a record without touching its lease.
--
-- KEYS[1]  record (hash)
-- KEYS[2]  its log (list)      } given on a cluster, elsewhere derived from KEYS[1]
-- KEYS[3]  its replies (hash)  }
-- ARGV[1]  how many of the newest log entries to return
-- ARGV[2]  an idempotency key, or ''
-- ARGV[3]  1: all replies are wanted
-- ARGV[4]  `all`, or `some` when only the fields in ARGV[5…] are wanted
-- ARGV[5…] names of fields
--
-- Returns  {}                 there is no such record
--          {fields, entries, reply, replies}  `fields` is name, token, name, token …, with the system field ''; of
--                             ARGV[5…] only those that exist; `entries` one a line; `reply` is what was left under
--                             the idempotency key, or '', and `replies` their hash as commit.lua writes it; both only
--                             where they are asked for
-- Errors   CORRUPT <why>

local record = KEYS[1]
local log = KEYS[2] or record .. ':log'

local system = redis.call('HGET', record, '')
if not system then
  if redis.call('EXISTS', record) == 0 then return {} end
  return redis.error_reply('CORRUPT the system field is missing')
end
local entries = ARGV[1] == '0' and {} or redis.call('LRANGE', log, '-' .. ARGV[1], '-1')
if #entries == 0 and string.find(system, '^%d+ %d+ %d+ [1-9]') and redis.call('LLEN', log) == 0 then
  return redis.error_reply('CORRUPT the log is missing')
end

local fields
if ARGV[4] == 'all' then
  fields = redis.call('HGETALL', record)
else
  fields = { '', system }
  for i = 5, #ARGV do
    local token = redis.call('HGET', record, ARGV[i])
    if token then
      fields[#fields + 1] = ARGV[i]
      fields[#fields + 1] = token
    end
  end
end
local answer = { fields, table.concat(entries, '\n') }
local replies = KEYS[3] or record .. ':replies'
if ARGV[2] ~= '' then answer[3] = redis.call('HGET', replies, '=' .. ARGV[2]) or '' end
if ARGV[3] == '1' then
  answer[3] = answer[3] or ''
  answer[4] = redis.call('HGETALL', replies)
end
return answer
