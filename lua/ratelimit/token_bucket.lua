-- Purpose: take one permit of a subject out of a bucket that fills up with time.
-- Guarantee: of n takes allowed within t µs, n * spacing_us <= burst * spacing_us + t; a refused take changes nothing.
-- KEYS[1] bucket  HASH: credit_us (what is in the bucket, as time), at_us (when that was so)
-- ARGV[1] spacing_us  how long one permit takes to drip in
-- ARGV[2] burst  how many permits the bucket holds
-- Returns: {1 if allowed, permits left right now, milliseconds until one is allowed}
-- Complexity: O(1).
local bucket = KEYS[1]
local spacing_us = tonumber(ARGV[1])
local burst = tonumber(ARGV[2])

if not (spacing_us and spacing_us >= 1 and burst and burst >= 1) then
  return redis.error_reply('ERR spacing_us and burst must be positive integers')
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local full_us = burst * spacing_us

local stored = redis.call('HMGET', bucket, 'credit_us', 'at_us')
local credit_us, at_us = tonumber(stored[1] or nil), tonumber(stored[2] or nil)
if credit_us and at_us then
  -- Credit is time: nothing is rounded. A clock that was set back fills nothing.
  credit_us = math.min(full_us, credit_us + math.max(0, now_us - at_us))
  now_us = math.max(now_us, at_us)
else
  credit_us = full_us
end

if credit_us < spacing_us then
  return {0, 0, math.ceil((spacing_us - credit_us) / 1000)}
end

credit_us = credit_us - spacing_us
redis.call('HSET', bucket, 'credit_us', string.format('%.0f', credit_us), 'at_us', string.format('%.0f', now_us))
-- A full bucket need not be remembered.
redis.call('PEXPIRE', bucket, math.ceil((full_us - credit_us) / 1000) + 1)
return {1, math.floor(credit_us / spacing_us), 0}
