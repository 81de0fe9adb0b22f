-- Purpose: take one permit of a subject whose takes are all remembered for a window.
-- Guarantee: exactly permits takes are allowed in any window, never one more; a refused take is not remembered.
-- KEYS[1] log  ZSET: one member a take, scored by its time in µs
-- ARGV[1] permits  how many takes
-- ARGV[2] window_ms  in how many milliseconds
-- Returns: {1 if allowed, permits left right now, milliseconds until one is allowed}
-- Complexity: O(log n + m) for n remembered takes of which m have left the window.
local log = KEYS[1]
local permits = tonumber(ARGV[1])
local window_ms = tonumber(ARGV[2])

if not (permits and permits >= 1 and window_ms and window_ms >= 1) then
  return redis.error_reply('ERR permits and window_ms must be positive integers')
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local window_us = window_ms * 1000

-- A clock that was set back must neither reorder the log nor make two takes the same member.
local newest = redis.call('ZRANGE', log, -1, -1, 'WITHSCORES')
if newest[2] then
  now_us = math.max(now_us, tonumber(newest[2]))
end

redis.call('ZREMRANGEBYSCORE', log, '-inf', string.format('%.0f', now_us - window_us))
local taken = redis.call('ZCARD', log)
if taken >= permits then
  local oldest = redis.call('ZRANGE', log, 0, 0, 'WITHSCORES')
  return {0, 0, math.ceil((oldest[2] + window_us - now_us) / 1000)}
end

-- Two takes in one microsecond differ by how many were there.
local now = string.format('%.0f', now_us)
redis.call('ZADD', log, now, now .. '-' .. taken)
redis.call('PEXPIRE', log, window_ms + 1)
return {1, permits - taken - 1, 0}
