-- Purpose: add a connection to its user.
-- Guarantee: of connections that are added at the same time exactly one brings the user online; nothing is written
--   once the lease has run out.
-- KEYS[1] presence  HASH of the user's connections: connection, lease
-- ARGV[1] connection  the connection's id
-- ARGV[2] lease  the lease it lives under; a connection that is there already moves to it
-- ARGV[3] until_ms  when the lease runs out
-- Returns: 1 when the user came online by it, 0 when not, -1 when the lease has run out
-- Complexity: O(1).
local presence = KEYS[1]
local connection = ARGV[1]
local lease = ARGV[2]
local until_ms = tonumber(ARGV[3])

if not until_ms then
  return redis.error_reply('ERR until_ms must be an integer')
end

local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) > until_ms then
  return -1
end
local before = redis.call('HLEN', presence)
redis.call('HSET', presence, connection, lease)
return before == 0 and 1 or 0
