-- Purpose: take a connection from its user.
-- Guarantee: of connections that are taken at the same time exactly one makes the user offline.
-- KEYS[1] conns  ZSET of the user's connections, scored by the time each runs out
-- ARGV[1] connection  the connection's id
-- Returns: 1 when the user went offline by it, 0 when not
-- Complexity: O(log n) for n connections of the user.
local conns = KEYS[1]
local connection = ARGV[1]

if redis.call('ZREM', conns, connection) == 0 then
  return 0
end
return redis.call('EXISTS', conns) == 0 and 1 or 0
