-- Gives back a lease that nobody waits for yet.
--
-- KEYS[1]  the lease (string)
-- ARGV[1]  the token that holds it
--
-- Returns  1 released · 0 it is another's, or gone

return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0
