-- Purpose: add a connection to its user, or say that it still lives.
-- Guarantee: of connections that are added at the same time exactly one brings the user online.
-- KEYS[1] conns  ZSET of the user's connections, scored by the time each runs out
-- ARGV[1] connection  the connection's id
-- ARGV[2] lease_ms  how long it lives without a heartbeat
-- ARGV[3] keep_ms  how long the set itself stays without any heartbeat
-- Returns: 1 when the user came online by it, 0 when not
-- Complexity: O(log n) for n connections of the user.
local conns = KEYS[1]
local connection = ARGV[1]
local lease_ms = tonumber(ARGV[2])
local keep_ms = tonumber(ARGV[3])

if not (lease_ms and lease_ms > 0 and keep_ms and keep_ms > 0) then
  return redis.error_reply('ERR lease_ms and keep_ms must be positive integers')
end

local time = redis.call('TIME')
local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) + lease_ms
local before = redis.call('EXISTS', conns)
redis.call('ZADD', conns, until_ms, connection)
redis.call('PEXPIRE', conns, keep_ms)
return before == 0 and 1 or 0
