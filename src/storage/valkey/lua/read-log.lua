-- Reads a stretch of a record's log.
--
-- KEYS[1]  record (hash)
-- KEYS[2]  its log (list); given on a cluster, elsewhere derived from KEYS[1]
-- ARGV[1]  at most so many entries, the newest ones before ARGV[2]
-- ARGV[2]  only entries at positions below this one, or '' for the end
--
-- Returns  {}                                there is no such record
--          {start, total, dropped, entries}  `start` is the position of the first entry; positions count from the
--                                            first entry ever logged and do not move when a cap drops old ones
-- Errors   CORRUPT <why>

local record = KEYS[1]
local log = KEYS[2] or record .. ':log'

local system = redis.call('HGET', record, '')
if not system then
  if redis.call('EXISTS', record) == 0 then return {} end
  return redis.error_reply('CORRUPT the system field is missing')
end
local kept, dropped = string.match(system, '^%d+ %d+ %d+ (%d+) (%d+) ')
if not kept then return redis.error_reply('CORRUPT the system field is not one of ours') end
dropped = tonumber(dropped)
local length = redis.call('LLEN', log)
if length == 0 and kept ~= '0' then return redis.error_reply('CORRUPT the log is missing') end

local stop = length
if ARGV[2] ~= '' then stop = math.max(0, math.min(length, ARGV[2] - dropped)) end
local start = math.max(0, stop - ARGV[1])
return {
  dropped + start,
  dropped + length,
  dropped,
  stop > start and redis.call('LRANGE', log, start, stop - 1) or {},
}
