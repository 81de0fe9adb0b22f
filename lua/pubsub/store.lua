-- Purpose: add a payload to the sorted set of a room, scored by its number.
-- Guarantee: numbers grow by one, so that a reader sees by them that members are missing; the set is bounded.
-- KEYS[1] log  ZSET of the newest payloads, `NUMBER PAYLOAD` scored by number
-- KEYS[2] count  STRING with the number of the newest one
-- ARGV[1] payload  what to add
-- ARGV[2] keep  how many members stay
-- ARGV[3] ttl_ms  how long a room that nothing happens in is kept
-- Returns: the number
-- Complexity: O(log n) for n members kept.
local log = KEYS[1]
local count = KEYS[2]
local payload = ARGV[1]
local keep = tonumber(ARGV[2])
local ttl_ms = tonumber(ARGV[3])

if not (keep and keep > 0 and ttl_ms and ttl_ms > 0) then
  return redis.error_reply('ERR keep and ttl_ms must be positive integers')
end

local number = redis.call('INCR', count)
-- The number is part of the member: two equal payloads are two members.
redis.call('ZADD', log, number, number .. ' ' .. payload)
redis.call('ZREMRANGEBYRANK', log, 0, -(keep + 1))
redis.call('PEXPIRE', log, ttl_ms)
redis.call('PEXPIRE', count, ttl_ms)
return number
