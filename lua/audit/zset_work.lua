-- Purpose: do the work of one delivery (count it for its actor) and release it.
-- Guarantee: both or neither; whoever comes second finds it released and changes nothing.
-- KEYS[1] meta  HASH: head, and of each group its cursor (c:) and the lowest number that it needs (f:)
-- KEYS[2] due  ZSET: held numbers by the time at which their holder counts as dead
-- KEYS[3] held  ZSET: the same numbers by number
-- KEYS[4] tries  HASH: held number to deliveries
-- KEYS[5] totals  HASH: actor to how many of their events were worked
-- ARGV[1] group  the group
-- ARGV[2] n  the number
-- ARGV[3] actor  who did it
-- Returns: 1 if the work was done now, 0 if it had been done or given up
-- Complexity: O(log p) for p held events.
local meta = KEYS[1]
local due = KEYS[2]
local held = KEYS[3]
local tries = KEYS[4]
local totals = KEYS[5]
local group = ARGV[1]
local n = ARGV[2]
local actor = ARGV[3]

if redis.call('ZREM', held, n) == 0 then
  return 0
end
redis.call('ZREM', due, n)
redis.call('HDEL', tries, n)
redis.call('HINCRBY', totals, actor, 1)
local oldest = redis.call('ZRANGE', held, 0, 0)[1]
redis.call('HSET', meta, 'f:' .. group, oldest or redis.call('HGET', meta, 'c:' .. group) + 1)
return 1
