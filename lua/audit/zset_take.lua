-- Purpose: give a consumer of a group what others left idle, and then what nobody has had yet.
-- Guarantee: an event has one holder at a time; one that was delivered max_deliveries times goes to the dead letters instead.
-- KEYS[1] meta  HASH: head, and of each group its cursor (c:) and the lowest number that it needs (f:)
-- KEYS[2] log  ZSET: number, a blank and the event, by number
-- KEYS[3] due  ZSET: held numbers by the time, in ms, at which their holder counts as dead
-- KEYS[4] held  ZSET: the same numbers by number
-- KEYS[5] tries  HASH: held number to deliveries
-- KEYS[6] dead  LIST: deliveries, a blank and the entry of what was given up
-- ARGV[1] group  the group
-- ARGV[2] count  at most so many
-- ARGV[3] idle_ms  a holder that was silent for so long is dead
-- ARGV[4] max_deliveries  so many attempts
-- ARGV[5] dead_max  the most dead letters kept
-- Returns: deliveries and entry of each, one after the other
-- Complexity: O(n log p) for n returned of p held events.
local meta = KEYS[1]
local log = KEYS[2]
local due = KEYS[3]
local held = KEYS[4]
local tries = KEYS[5]
local dead = KEYS[6]
local group = ARGV[1]
local count = tonumber(ARGV[2])
local idle_ms = tonumber(ARGV[3])
local max_deliveries = tonumber(ARGV[4])
local dead_max = tonumber(ARGV[5])

local cursor = tonumber(redis.call('HGET', meta, 'c:' .. group))
if not cursor then
  return redis.error_reply('NOGROUP there is no group ' .. group)
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = string.format('%.0f', now_ms + idle_ms)
local out, taken = {}, 0
local function hand(deliveries, entry)
  taken = taken + 1
  out[#out + 1] = tostring(deliveries)
  out[#out + 1] = entry
end

for _, n in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', string.format('%.0f', now_ms), 'LIMIT', 0, count)) do
  local entry = redis.call('ZRANGEBYSCORE', log, n, n)[1]
  local deliveries = tonumber(redis.call('HGET', tries, n))
  if entry and deliveries < max_deliveries then
    redis.call('ZADD', due, until_ms, n)
    redis.call('HINCRBY', tries, n, 1)
    hand(deliveries + 1, entry)
  else
    if entry then
      redis.call('RPUSH', dead, deliveries .. ' ' .. entry)
      redis.call('LTRIM', dead, -dead_max, -1)
    end
    redis.call('ZREM', due, n)
    redis.call('ZREM', held, n)
    redis.call('HDEL', tries, n)
  end
end

if taken < count then
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', log, '(' .. cursor, '+inf', 'LIMIT', 0, count - taken)) do
    local n = string.match(entry, '^%d+')
    redis.call('ZADD', due, until_ms, n)
    redis.call('ZADD', held, n, n)
    redis.call('HSET', tries, n, 1)
    cursor = tonumber(n)
    hand(1, entry)
  end
end
local oldest = redis.call('ZRANGE', held, 0, 0)[1]
redis.call('HSET', meta, 'c:' .. group, cursor, 'f:' .. group, oldest or cursor + 1)
return out
