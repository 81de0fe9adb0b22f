-- Purpose: add a message to a room and count it.
-- Guarantee: counter and log change together; sequences have no holes when they are given out.
-- KEYS[1] seq  STRING, the newest sequence of the room
-- KEYS[2] log  HASH of sequence to text
-- ARGV[1] text  the message
-- ARGV[2] keep  how many of the newest sequences stay
-- Returns: the message's sequence
-- Complexity: O(1)
local seq = KEYS[1]
local log = KEYS[2]
local text = ARGV[1]
local keep = tonumber(ARGV[2])

if not (keep and keep > 0) then
  return redis.error_reply('ERR keep must be a positive integer')
end

local number = redis.call('INCR', seq)
redis.call('HSET', log, number, text)
redis.call('HDEL', log, number - keep)
return number
