-- Purpose: forget a row that was dealt with.
-- Guarantee: a row that was touched since it was read stays.
-- KEYS[1] due  ZSET of `USER CONNECTION`, scored by the time at which to look
-- ARGV[1] row  `USER CONNECTION`
-- ARGV[2] score  the score it was read with
-- Returns: 1 when it was dropped, 0 when not
-- Complexity: O(log n) for n connections of all instances.
local due = KEYS[1]
local row = ARGV[1]
local score = tonumber(ARGV[2])

if tonumber(redis.call('ZSCORE', due, row) or -1) ~= score then
  return 0
end
return redis.call('ZREM', due, row)
