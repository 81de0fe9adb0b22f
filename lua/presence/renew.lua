-- Purpose: say that an instance is alive.
-- Guarantee: a lease that a reaper has taken, or that was never there, is made only when it is fresh; an old one stays lost.
-- KEYS[1] leases  ZSET of the leases of all instances, scored by the time each runs out
-- ARGV[1] lease  the lease's name
-- ARGV[2] lease_ms  how long it holds from now on
-- ARGV[3] fresh  1 for a name never used before, 0 to renew
-- Returns: when it runs out, in milliseconds since 1970; 0 when it is lost
-- Complexity: O(log n) for n instances, however many connections they hold.
local leases = KEYS[1]
local lease = ARGV[1]
local lease_ms = tonumber(ARGV[2])
local fresh = ARGV[3]

if not (lease_ms and lease_ms > 0) then
  return redis.error_reply('ERR lease_ms must be a positive integer')
end
if fresh ~= '1' and not redis.call('ZSCORE', leases, lease) then
  return 0
end

local time = redis.call('TIME')
local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) + lease_ms
redis.call('ZADD', leases, until_ms, lease)
return until_ms
