-- Purpose: set an entry aside that a group cannot work.
-- Guarantee: it is in the dead letters before it is acknowledged; a second burial changes nothing.
-- KEYS[1] events  STREAM: the outbox of a partition
-- KEYS[2] dead  STREAM: what the group gave up, with the id that it had
-- ARGV[1] group  the group
-- ARGV[2] id  the entry
-- ARGV[3] error  why it cannot be worked
-- ARGV[4] dead_max  the most dead letters kept
-- Returns: 1 when it was buried, 0 when the group was done with it before
-- Complexity: O(1).
local events = KEYS[1]
local dead = KEYS[2]
local group = ARGV[1]
local id = ARGV[2]
local error = ARGV[3]
local dead_max = tonumber(ARGV[4])

if redis.call('XACK', events, group, id) == 0 then
  return 0
end
local found = redis.call('XRANGE', events, id, id)
local payload = found[1] and found[1][2][2] or ''
redis.call('XADD', dead, 'MAXLEN', dead_max, '*', 'id', id, 'error', error, 'payload', payload)
return 1
