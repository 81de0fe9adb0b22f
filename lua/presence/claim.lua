-- Purpose: give a reaper one lease that ran out.
-- Guarantee: a lease is with one reaper at a time; a reaper that dies is replaced when its own time is up. From the
--   first claim on the lease cannot be renewed.
-- KEYS[1] leases  ZSET of the leases of all instances, scored by the time each runs out
-- KEYS[2] dead  ZSET of the leases that ran out, scored by the time at which another reaper may take over
-- ARGV[1] margin_ms  how long after its end a lease is dead for certain, on whichever node the clock is read
-- ARGV[2] claim_ms  how long the reaper has
-- ARGV[3] batch  the most leases that are moved to the dead in one call
-- Returns: the lease, or nil
-- Complexity: O(b log n) for n instances, b at most batch.
local leases = KEYS[1]
local dead = KEYS[2]
local margin_ms = tonumber(ARGV[1])
local claim_ms = tonumber(ARGV[2])
local batch = tonumber(ARGV[3])

if not (margin_ms and margin_ms >= 0 and claim_ms and claim_ms > 0 and batch and batch > 0) then
  return redis.error_reply('ERR margin_ms, claim_ms and batch must be positive integers')
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call('ZRANGE', leases, '-inf', now_ms - margin_ms, 'BYSCORE', 'LIMIT', 0, batch)
for _, lease in ipairs(over) do
  redis.call('ZREM', leases, lease)
  redis.call('ZADD', dead, 0, lease)
end

local claimed = redis.call('ZRANGE', dead, '-inf', now_ms, 'BYSCORE', 'LIMIT', 0, 1)[1]
if not claimed then
  return nil
end
redis.call('ZADD', dead, now_ms + claim_ms, claimed)
return claimed
