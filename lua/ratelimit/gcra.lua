-- Purpose: take one permit of a subject, by the generic cell rate algorithm.
-- Guarantee: of n takes allowed within t µs, n * spacing_us <= burst * spacing_us + t; a refused take changes nothing.
-- KEYS[1] due  STRING: the time in µs at which everything taken so far is paid for
-- ARGV[1] spacing_us  what one permit costs, as time
-- ARGV[2] burst  how many permits may be unpaid at once
-- Returns: {1 if allowed, permits left right now, milliseconds until one is allowed}
-- Complexity: O(1).
local due = KEYS[1]
local spacing_us = tonumber(ARGV[1])
local burst = tonumber(ARGV[2])

if not (spacing_us and spacing_us >= 1 and burst and burst >= 1) then
  return redis.error_reply('ERR spacing_us and burst must be positive integers')
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local credit_us = burst * spacing_us

local due_us = now_us
local stored = redis.call('GET', due)
if stored then
  due_us = tonumber(stored)
  if not due_us then
    return redis.error_reply('ERR the value is not a time')
  end
  -- Below now_us everything is paid for. Above the credit only a clock that was set back gets: nobody waits longer for that.
  due_us = math.min(math.max(due_us, now_us), now_us + credit_us)
end

local free_us = credit_us - (due_us - now_us)
if free_us < spacing_us then
  return {0, 0, math.ceil((spacing_us - free_us) / 1000)}
end

due_us = due_us + spacing_us
-- A millisecond more than needed: expiries count whole milliseconds, and the state must not end before it is paid for.
redis.call('SET', due, string.format('%.0f', due_us), 'PX', math.ceil((due_us - now_us) / 1000) + 1)
return {1, math.floor((free_us - spacing_us) / spacing_us), 0}
