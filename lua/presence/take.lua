-- Purpose: close a connection whose lease ran out.
-- Guarantee: of several reapers that close the same connection exactly one makes the user offline; a connection that
--   lives under another lease by now stays.
-- KEYS[1] presence  HASH of the user's connections: connection, lease
-- ARGV[1] connection  the connection's id
-- ARGV[2] lease  the lease that ran out
-- Returns: 1 when the user went offline by it, 0 when not
-- Complexity: O(1).
local presence = KEYS[1]
local connection = ARGV[1]
local lease = ARGV[2]

if redis.call('HGET', presence, connection) ~= lease then
  return 0
end
redis.call('HDEL', presence, connection)
return redis.call('EXISTS', presence) == 0 and 1 or 0
