-- Purpose: close a connection that ran out.
-- Guarantee: of several reapers exactly one makes the user offline; a connection that lives stays.
-- KEYS[1] conns  ZSET of the user's connections, scored by the time each runs out
-- ARGV[1] connection  the connection's id
-- Returns: 1 when the user went offline by it, 0 when not, 2 when it lives
-- Complexity: O(log n) for n connections of the user.
local conns = KEYS[1]
local connection = ARGV[1]

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = redis.call('ZSCORE', conns, connection)
if not until_ms then
  return 0
end
if tonumber(until_ms) > now_ms then
  return 2
end
redis.call('ZREM', conns, connection)
return redis.call('EXISTS', conns) == 0 and 1 or 0
