-- Purpose: take one permit of a subject by the counts of this window and, in part, of the one before.
-- Guarantee: not over the permits if the takes of the window before were spread evenly; else up to twice as many.
-- KEYS[1] counts  HASH: window (its number), current and previous (takes)
-- ARGV[1] permits  how many takes
-- ARGV[2] window_ms  in how many milliseconds
-- Returns: {1 if allowed, permits left right now, milliseconds until one is allowed}
-- Complexity: O(1).
local counts = KEYS[1]
local permits = tonumber(ARGV[1])
local window_ms = tonumber(ARGV[2])

if not (permits and permits >= 1 and window_ms and window_ms >= 1) then
  return redis.error_reply('ERR permits and window_ms must be positive integers')
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local window_us = window_ms * 1000
local window = math.floor(now_us / window_us)

local stored = redis.call('HMGET', counts, 'window', 'current', 'previous')
local seen = tonumber(stored[1] or nil)
local current, previous = tonumber(stored[2] or 0), tonumber(stored[3] or 0)
if not seen or seen < window - 1 then
  current, previous = 0, 0
elseif seen == window - 1 then
  current, previous = 0, current
end

-- How much of a window that ends now lies in the one before, and so how many of its takes count.
local elapsed_us = now_us - window * window_us
local estimate = current + previous * (1 - elapsed_us / window_us)
local free = permits - estimate
if free < 1 then
  local wait_us
  if current + 1 <= permits and previous > 0 then
    wait_us = window_us * (1 - (permits - 1 - current) / previous) - elapsed_us
  else
    wait_us = window_us - elapsed_us + window_us / permits
  end
  return {0, 0, math.max(1, math.ceil(wait_us / 1000))}
end

redis.call('HSET', counts, 'window', string.format('%.0f', window), 'current', current + 1, 'previous', previous)
redis.call('PEXPIRE', counts, 2 * window_ms)
return {1, math.floor(free - 1), 0}
