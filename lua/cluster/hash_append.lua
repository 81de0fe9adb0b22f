-- Purpose: add a message to a room that is one hash.
-- Guarantee: counter and message change together.
-- KEYS[1] room  HASH: seq, and a field of its own for each sequence
-- ARGV[1] text  the message
-- ARGV[2] keep  how many of the newest sequences stay
-- Returns: the message's sequence
-- Complexity: O(1)
local room = KEYS[1]
local text = ARGV[1]
local keep = tonumber(ARGV[2])

if not (keep and keep > 0) then
  return redis.error_reply('ERR keep must be a positive integer')
end

local number = redis.call('HINCRBY', room, 'seq', 1)
redis.call('HSET', room, number, text)
redis.call('HDEL', room, number - keep)
return number
