-- Removes a record with its log. Its lease stays.
--
-- KEYS[1]  record (hash)
-- KEYS[2]  its log (list)      } given on a cluster, elsewhere derived from KEYS[1]
-- KEYS[3]  its replies (hash)  }
--
-- Returns  1 when there was a record, else 0
-- Errors   WRONGTYPE when one of the keys is not ours; nothing is removed then

local record = KEYS[1]
local log = KEYS[2] or record .. ':log'

local there = redis.call('HLEN', record) > 0
redis.call('LLEN', log)
redis.call('UNLINK', record, log, KEYS[3] or record .. ':replies')
return there and 1 or 0
