-- Purpose: notice that a connection has expired.
-- Guarantee: of several reapers exactly one makes the user offline; a connection that lives stays.
-- KEYS[1] conns  HASH of the user's connections, each field expires by itself
-- KEYS[2] shown  STRING, there while others believe that the user is online
-- ARGV[1] connection  the connection's id
-- Returns: 1 when the user went offline by it, 0 when not, 2 when it lives
-- Complexity: O(n) for n connections of the user: HLEN would count what has expired.
local conns = KEYS[1]
local shown = KEYS[2]
local connection = ARGV[1]

if redis.call('HEXISTS', conns, connection) == 1 then
  return 2
end
if #redis.call('HKEYS', conns) > 0 then
  return 0
end
return redis.call('DEL', shown)
