-- Purpose: do the work of one delivery (count it for its actor) and acknowledge it.
-- Guarantee: both or neither; whoever comes second finds nothing to acknowledge and changes nothing.
-- KEYS[1] log  STREAM: one entry an event
-- KEYS[2] totals  HASH: actor to how many of their events were worked
-- ARGV[1] group  the group
-- ARGV[2] id  the entry
-- ARGV[3] actor  who did it
-- Returns: 1 if the work was done now, 0 if it had been done or given up
-- Complexity: O(1).
local log = KEYS[1]
local totals = KEYS[2]
local group = ARGV[1]
local id = ARGV[2]
local actor = ARGV[3]

if redis.call('XACK', log, group, id) == 0 then
  return 0
end
redis.call('HINCRBY', totals, actor, 1)
return 1
