-- Purpose: how far a group is behind.
-- Guarantee: exact, also after events were erased.
-- KEYS[1] meta  HASH: head, and of each group its cursor (c:) and its floor (f:)
-- KEYS[2] log  ZSET: number, a blank and the event, by number
-- KEYS[3] held  ZSET: held numbers by number
-- ARGV[1] group  the group
-- Returns: {undelivered, pending}
-- Complexity: O(log n) for n events.
local meta = KEYS[1]
local log = KEYS[2]
local held = KEYS[3]
local group = ARGV[1]

local cursor = redis.call('HGET', meta, 'c:' .. group)
if not cursor then
  return redis.error_reply('NOGROUP there is no group ' .. group)
end
return {redis.call('ZCOUNT', log, '(' .. cursor, '+inf'), redis.call('ZCARD', held)}
