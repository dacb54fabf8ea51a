-- Gives back a lease. Whoever waits for it keeps the place.
--
-- KEYS[1]  the lease (string), as in begin.lua
-- ARGV[1]  the token that holds it
--
-- Returns  1 released · 0 it is another's, or gone

local call = redis.call
local lease, token = KEYS[1], ARGV[1]

local text = call('GET', lease)
if text and text ~= token then
  local holder, waiter, waits = string.match(text, '^(%S+) %d+ (%S+) (%d+)$')
  if holder ~= token then return 0 end
  local time = call('TIME')
  local left = waits - time[1] * 1000 - math.floor(time[2] / 1000)
  local noted = left > 0 and redis.pcall('SET', lease, string.format('- 0 %s %s', waiter, waits), 'PX', left)
  -- A lease must come free even where there is no memory left to note who is next.
  if noted and not noted.err then return 1 end
end
return call('DEL', lease)
