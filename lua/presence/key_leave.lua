-- Purpose: take a connection from its user.
-- Guarantee: of connections that are taken at the same time exactly one makes the user offline.
-- KEYS[1] conns  SET of the user's connections
-- KEYS[2] alive  STRING that expires with the connection
-- ARGV[1] connection  the connection's id
-- Returns: 1 when the user went offline by it, 0 when not
-- Complexity: O(1).
local conns = KEYS[1]
local alive = KEYS[2]
local connection = ARGV[1]

redis.call('UNLINK', alive)
if redis.call('SREM', conns, connection) == 0 then
  return 0
end
return redis.call('EXISTS', conns) == 0 and 1 or 0
