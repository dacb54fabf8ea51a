-- Reads a record without touching its lease.
--
-- KEYS[1]  record (hash)
-- KEYS[2]  its log (list); given on a cluster, elsewhere derived from KEYS[1]
-- ARGV[1]  how many of the newest log entries to return
-- ARGV[2]  `all`, or `some` when only the fields in ARGV[3…] are wanted
-- ARGV[3…] names of fields
--
-- Returns  {}                 there is no such record
--          {fields, entries}  `fields` is name, token, name, token …, with the system field ''; of ARGV[3…] only
--                             those that exist
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
if ARGV[2] == 'all' then
  fields = redis.call('HGETALL', record)
else
  fields = { '', system }
  for i = 3, #ARGV do
    local token = redis.call('HGET', record, ARGV[i])
    if token then
      fields[#fields + 1] = ARGV[i]
      fields[#fields + 1] = token
    end
  end
end
return { fields, entries }
