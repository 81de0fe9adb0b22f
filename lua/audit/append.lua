-- Purpose: append an event to a topic's stream.
-- Guarantee: the stream never holds more than max entries; an append that finds it full changes nothing.
-- KEYS[1] log  STREAM: one entry an event
-- ARGV[1] max  the most entries
-- ARGV[2] actor  who did it
-- ARGV[3] action  what was done
-- ARGV[4] text  to what
-- Returns: the new entry's id, or '' when the log is full
-- Complexity: O(1).
local log = KEYS[1]
local max = tonumber(ARGV[1])
local actor = ARGV[2]
local action = ARGV[3]
local text = ARGV[4]

if redis.call('XLEN', log) >= max then
  return ''
end
return redis.call('XADD', log, '*', 'actor', actor, 'action', action, 'text', text)
