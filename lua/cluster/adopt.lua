-- Purpose: add a message that comes from another room, once.
-- Guarantee: however often it is called for one origin, the message is added once and its sequence is the same.
-- KEYS[1] seq  STRING, the newest sequence of the room
-- KEYS[2] log  HASH of sequence to text
-- KEYS[3] mark  STRING, the sequence under which this origin was added
-- ARGV[1] found  1 when the origin still has the message
-- ARGV[2] text  the message
-- ARGV[3] keep  how many of the newest sequences stay
-- ARGV[4] mark_ms  how long the mark stays
-- Returns: the message's sequence; nil when the origin has none and none was added before
-- Complexity: O(1)
local seq = KEYS[1]
local log = KEYS[2]
local mark = KEYS[3]
local found = ARGV[1]
local text = ARGV[2]
local keep = tonumber(ARGV[3])
local mark_ms = tonumber(ARGV[4])

if not (keep and keep > 0 and mark_ms and mark_ms > 0) then
  return redis.error_reply('ERR keep and mark_ms must be positive integers')
end

local before = redis.call('GET', mark)
if before then
  return tonumber(before)
end
if found ~= '1' then
  return nil
end
local number = redis.call('INCR', seq)
redis.call('HSET', log, number, text)
redis.call('HDEL', log, number - keep)
redis.call('SET', mark, number, 'PX', mark_ms)
return number
