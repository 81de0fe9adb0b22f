-- Purpose: take one permit of a subject whose takes are counted in slices of the window.
-- Guarantee: never more than permits takes in any window: it touches at most slices + 1 slices, and all of these are counted.
-- KEYS[1] counts  HASH: the number of a slice of time, how many takes it had
-- ARGV[1] permits  how many takes
-- ARGV[2] window_ms  in how many milliseconds
-- ARGV[3] slices  into how many parts the window is cut
-- Returns: {1 if allowed, permits left right now, milliseconds until one is allowed}
-- Complexity: O(slices), whatever the permits.
local counts = KEYS[1]
local permits = tonumber(ARGV[1])
local window_ms = tonumber(ARGV[2])
local slices = tonumber(ARGV[3])

if not (permits and permits >= 1 and window_ms and window_ms >= 1 and slices and slices >= 1) then
  return redis.error_reply('ERR permits, window_ms and slices must be positive integers')
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local width_us = math.ceil(window_ms * 1000 / slices)
local slice = math.floor(now_us / width_us)

local fields = redis.call('HGETALL', counts)
for i = 1, #fields, 2 do
  -- After a clock was set back, time stands still until it is reached again.
  slice = math.max(slice, tonumber(fields[i]))
end
now_us = math.max(now_us, slice * width_us)

local taken = 0
local oldest = slice
for i = 1, #fields, 2 do
  local at = tonumber(fields[i])
  if at < slice - slices then
    redis.call('HDEL', counts, fields[i])
  else
    taken = taken + tonumber(fields[i + 1])
    oldest = math.min(oldest, at)
  end
end

if taken >= permits then
  return {0, 0, math.ceil(((oldest + slices + 1) * width_us - now_us) / 1000)}
end

redis.call('HINCRBY', counts, string.format('%.0f', slice), 1)
redis.call('PEXPIRE', counts, math.ceil((slices + 1) * width_us / 1000) + 1)
return {1, permits - taken - 1, 0}
