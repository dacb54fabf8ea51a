-- What a listing shows of records: their attributes.
--
-- KEYS     records (hashes)
--
-- Returns  for each the text of its system field, or nil where there is no record of ours

local found = {}
for i, record in ipairs(KEYS) do
  local system = redis.pcall('HGET', record, '')
  found[i] = type(system) == 'string' and system
end
return found
