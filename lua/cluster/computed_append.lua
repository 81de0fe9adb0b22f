-- Purpose: the flawed append of the lab: it makes up the name of a key that it was not given.
-- Guarantee: none while a slot moves: Redis looks at the declared keys only to decide whether to redirect.
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

local number = redis.call('INCR', seq)
redis.call('HSET', log, number, text)
redis.call('HDEL', log, number - keep)
-- Nobody was told of this key.
redis.call('SET', log .. ':last', text)
return number
