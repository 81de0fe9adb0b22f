-- Purpose: name connections that nobody has refreshed in time.
-- Guarantee: those due at one instant by the server's clock, the oldest first; writes nothing.
-- KEYS[1] due  ZSET of `USER CONNECTION`, scored by the time at which to look
-- ARGV[1] limit  the most rows
-- Returns: {row, score, row, score, …}
-- Complexity: O(log n + r) for r rows among n connections of all instances.
local due = KEYS[1]
local limit = tonumber(ARGV[1])

if not (limit and limit > 0) then
  return redis.error_reply('ERR limit must be a positive integer')
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGE', due, '-inf', now_ms, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
