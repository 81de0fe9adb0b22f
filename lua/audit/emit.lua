-- Purpose: append an event to a topic of the outbox.
-- Guarantee: the stream never holds more than max entries; an append that finds it full changes nothing.
-- KEYS[1] events  STREAM: the outbox of a partition
-- ARGV[1] max  the most entries
-- ARGV[2] payload  the event
-- Returns: the new entry's id, or '' when the stream is full
-- Complexity: O(1).
local events = KEYS[1]
local max = tonumber(ARGV[1])
local payload = ARGV[2]

if redis.call('XLEN', events) >= max then
  return ''
end
return redis.call('XADD', events, '*', 'event', payload)
