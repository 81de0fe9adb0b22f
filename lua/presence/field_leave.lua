-- Purpose: take a connection from its user.
-- Guarantee: of connections that are taken at the same time exactly one makes the user offline.
-- KEYS[1] conns  HASH of the user's connections, each field expires by itself
-- KEYS[2] shown  STRING, there while others believe that the user is online
-- ARGV[1] connection  the connection's id
-- Returns: 1 when the user went offline by it, 0 when not
-- Complexity: O(n) for n connections of the user: HLEN would count what has expired.
local conns = KEYS[1]
local shown = KEYS[2]
local connection = ARGV[1]

if redis.call('HDEL', conns, connection) == 0 or #redis.call('HKEYS', conns) > 0 then
  return 0
end
return redis.call('DEL', shown)
