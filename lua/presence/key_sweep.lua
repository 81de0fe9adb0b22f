-- Purpose: close a connection whose key has expired.
-- Guarantee: of several reapers exactly one makes the user offline; a connection that lives stays.
-- KEYS[1] conns  SET of the user's connections
-- KEYS[2] alive  STRING that expires with the connection
-- ARGV[1] connection  the connection's id
-- Returns: 1 when the user went offline by it, 0 when not, 2 when it lives
-- Complexity: O(1).
local conns = KEYS[1]
local alive = KEYS[2]
local connection = ARGV[1]

if redis.call('EXISTS', alive) == 1 then
  return 2
end
if redis.call('SREM', conns, connection) == 0 then
  return 0
end
return redis.call('EXISTS', conns) == 0 and 1 or 0
