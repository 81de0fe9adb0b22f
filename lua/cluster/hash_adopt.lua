-- Purpose: add a message that comes from another room to a room that is one hash, once.
-- Guarantee: however often it is called for one origin, the message is added once and its sequence is the same.
-- KEYS[1] room  HASH: seq, a field of its own for each sequence, `from:ORIGIN` for what came from elsewhere
-- ARGV[1] origin  room and sequence that it comes from
-- ARGV[2] found  1 when the origin still has the message
-- ARGV[3] text  the message
-- ARGV[4] keep  how many of the newest sequences stay
-- Returns: the message's sequence; nil when the origin has none and none was added before
-- Complexity: O(1)
local room = KEYS[1]
local origin = ARGV[1]
local found = ARGV[2]
local text = ARGV[3]
local keep = tonumber(ARGV[4])

if not (keep and keep > 0) then
  return redis.error_reply('ERR keep must be a positive integer')
end

local before = redis.call('HGET', room, 'from:' .. origin)
if before then
  return tonumber(before)
end
if found ~= '1' then
  return nil
end
local number = redis.call('HINCRBY', room, 'seq', 1)
-- Mark and message of a sequence leave together: `was:N` names the mark.
redis.call('HSET', room, number, text, 'from:' .. origin, number, 'was:' .. number, origin)
local old = number - keep
local old_origin = redis.call('HGET', room, 'was:' .. old)
if old_origin then
  redis.call('HDEL', room, 'from:' .. old_origin, 'was:' .. old)
end
redis.call('HDEL', room, old)
return number
