-- Deletes records that were last written before a moment and that nobody holds.
--
-- KEYS     record (hash), its log (list), its lease (string), its replies (hash), for each
-- ARGV[1]  the moment, epoch milliseconds
--
-- Returns  for each: 1 deleted · 0 absent · -1 held, or not one of ours, stays · its system field: written since, stays

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = tonumber(ARGV[1])

local answers = {}
for i = 1, #KEYS, 4 do
  local answer = -1
  local system = redis.pcall('HGET', KEYS[i], '')
  if type(system) == 'string' then
    local updated = string.match(system, '^%d+ (%d+) ')
    if updated and tonumber(updated) >= before then
      answer = system
    elseif updated then
      -- What a lease says is described in begin.lua.
      local lease = redis.pcall('GET', KEYS[i + 2])
      local head = type(lease) == 'string' and string.match(lease, '^[^\n]*')
      local ends = head == '-' and 0 or head and string.match(head, '^%S+ (%d+) ')
      local log = redis.pcall('LLEN', KEYS[i + 1])
      if type(log) == 'number' and (lease == false or ends and tonumber(ends) <= now) then
        redis.call('UNLINK', KEYS[i], KEYS[i + 1], KEYS[i + 3])
        answer = 1
      end
    end
  elseif redis.call('EXISTS', KEYS[i]) == 0 then
    answer = 0
  end
  answers[#answers + 1] = answer
end
return answers
