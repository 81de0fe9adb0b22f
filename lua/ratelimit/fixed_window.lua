-- Purpose: take one permit of a subject whose takes are counted from its first one for a window, then from 0 again.
-- Guarantee: never more than permits takes in one of these windows; across the edge of two of them up to twice as many.
-- KEYS[1] count  STRING: the takes of the present window
-- ARGV[1] permits  how many takes
-- ARGV[2] window_ms  in how many milliseconds
-- Returns: {1 if allowed, permits left right now, milliseconds until one is allowed}
-- Complexity: O(1).
local count = KEYS[1]
local permits = tonumber(ARGV[1])
local window_ms = tonumber(ARGV[2])

if not (permits and permits >= 1 and window_ms and window_ms >= 1) then
  return redis.error_reply('ERR permits and window_ms must be positive integers')
end

local taken = tonumber(redis.call('GET', count) or 0)
if not taken then
  return redis.error_reply('ERR the value is not a number')
end
if taken >= permits then
  return {0, 0, math.max(1, redis.call('PTTL', count))}
end
if redis.call('INCR', count) == 1 then
  redis.call('PEXPIRE', count, window_ms)
end
return {1, permits - taken - 1, 0}
