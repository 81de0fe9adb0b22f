-- Purpose: add a connection to its user, or say that it still lives.
-- Guarantee: of connections that are added at the same time exactly one brings the user online.
-- KEYS[1] conns  HASH of the user's connections, each field expires by itself
-- KEYS[2] shown  STRING, there while others believe that the user is online
-- ARGV[1] connection  the connection's id
-- ARGV[2] lease_ms  how long it lives without a heartbeat
-- ARGV[3] keep_ms  how long `shown` stays without any heartbeat
-- Returns: 1 when the user came online by it, 0 when not
-- Complexity: O(1).
local conns = KEYS[1]
local shown = KEYS[2]
local connection = ARGV[1]
local lease_ms = tonumber(ARGV[2])
local keep_ms = tonumber(ARGV[3])

if not (lease_ms and lease_ms > 0 and keep_ms and keep_ms > 0) then
  return redis.error_reply('ERR lease_ms and keep_ms must be positive integers')
end

local before = redis.call('EXISTS', shown)
redis.call('HSET', conns, connection, '')
redis.call('HPEXPIRE', conns, lease_ms, 'FIELDS', 1, connection)
redis.call('SET', shown, '', 'PX', keep_ms)
return before == 0 and 1 or 0
