-- Purpose: add a connection to its user, or say that it still lives.
-- Guarantee: of connections that are added at the same time exactly one brings the user online.
-- KEYS[1] conns  SET of the user's connections
-- KEYS[2] alive  STRING that expires with the connection
-- ARGV[1] connection  the connection's id
-- ARGV[2] lease_ms  how long it lives without a heartbeat
-- ARGV[3] keep_ms  how long the set itself stays without any heartbeat
-- Returns: 1 when the user came online by it, 0 when not
-- Complexity: O(1).
local conns = KEYS[1]
local alive = KEYS[2]
local connection = ARGV[1]
local lease_ms = tonumber(ARGV[2])
local keep_ms = tonumber(ARGV[3])

if not (lease_ms and lease_ms > 0 and keep_ms and keep_ms > 0) then
  return redis.error_reply('ERR lease_ms and keep_ms must be positive integers')
end

local before = redis.call('EXISTS', conns)
redis.call('SADD', conns, connection)
redis.call('PEXPIRE', conns, keep_ms)
redis.call('SET', alive, '', 'PX', lease_ms)
return before == 0 and 1 or 0
