-- Purpose: lay out the same messages in four structures, for the experiment on growth.
-- Guarantee: elements from first to last are there; running it again changes nothing but the list, which is appended to.
-- KEYS[1] zset    sorted set: m:I scored I
-- KEYS[2] list    list: m:I, padded to the length of a short message
-- KEYS[3] stream  stream: id I-0, one field
-- KEYS[4] hash    hash: I to m:I
-- ARGV[1] first  the first element
-- ARGV[2] last   the last one; at most 2000 a call
-- Returns: how many were added
-- Complexity: O(k log n) for k elements a call
local zset = KEYS[1]
local list = KEYS[2]
local stream = KEYS[3]
local hash = KEYS[4]
local first = tonumber(ARGV[1])
local last = tonumber(ARGV[2])

local padding = string.rep(' ', 120)
if not (first and last and first >= 1 and last - first < 2000) then
  return redis.error_reply('ERR first and last must be integers, at most 2000 elements a call')
end
for i = first, last do
  local member = string.format('m:%d', i)
  redis.call('ZADD', zset, i, member)
  redis.call('RPUSH', list, member .. padding)
  redis.call('XADD', stream, string.format('%d-0', i), 'm', member)
  redis.call('HSET', hash, i, member)
end
return last - first + 1
