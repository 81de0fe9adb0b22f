-- Purpose: append an event to a numbered log.
-- Guarantee: numbers grow by one and are never given twice; a log of max events refuses.
-- KEYS[1] meta  HASH: head, and of each group its cursor and its floor
-- KEYS[2] log  ZSET: number, a blank and the event, by number
-- ARGV[1] max  the most events
-- ARGV[2] event  the event
-- Returns: its number, or 0 when the log is full
-- Complexity: O(log n) for n events.
local meta = KEYS[1]
local log = KEYS[2]
local max = tonumber(ARGV[1])
local event = ARGV[2]

if redis.call('ZCARD', log) >= max then
  return 0
end
local n = redis.call('HINCRBY', meta, 'head', 1)
redis.call('ZADD', log, n, n .. ' ' .. event)
return n
