-- Purpose: take a connection from its user.
-- Guarantee: of connections that are taken at the same time exactly one makes the user offline.
-- KEYS[1] presence  HASH of the user's connections: connection, lease
-- ARGV[1] connection  the connection's id
-- Returns: 1 when the user went offline by it, 0 when not
-- Complexity: O(1).
local presence = KEYS[1]
local connection = ARGV[1]

if redis.call('HDEL', presence, connection) == 0 then
  return 0
end
return redis.call('EXISTS', presence) == 0 and 1 or 0
