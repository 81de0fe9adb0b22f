-- Purpose: do the work of one delivery once, wherever and whenever it will be acknowledged.
-- Guarantee: work and mark come together; for the newest marks_max ids the work is never done again.
-- KEYS[1] marks  ZSET: ids whose work was done, by when
-- KEYS[2] totals  HASH: actor to how many of their events were worked
-- ARGV[1] id  the entry
-- ARGV[2] actor  who did it
-- ARGV[3] marks_max  the most marks
-- Returns: 1 if the work was done now, 0 if it had been
-- Complexity: O(log n) for n marks.
local marks = KEYS[1]
local totals = KEYS[2]
local id = ARGV[1]
local actor = ARGV[2]
local marks_max = tonumber(ARGV[3])

local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
if redis.call('ZADD', marks, 'NX', now_us, id) == 0 then
  return 0
end
redis.call('HINCRBY', totals, actor, 1)
redis.call('ZREMRANGEBYRANK', marks, 0, -marks_max - 1)
return 1
