-- Purpose: put down the pins of a room that Redis does not know, as the archive has them.
-- Guarantee: only the first who does it is heard, and nobody where they are known: what was pinned since stays.
-- KEYS[1] pins  sorted set: ids of the pinned messages by the sequence of their pin, and an empty member
-- ARGV[1] listed  `ID SEQ` of each, parted by blanks
-- Returns: 1 when they are as listed by this, 0 when they were known
-- Complexity: O(p log p) for p pins
local pins = KEYS[1]
local listed = ARGV[1]

if redis.call('EXISTS', pins) == 1 then
  return 0
end
redis.call('ZADD', pins, 0, '')
for id, seq in listed:gmatch('(%S+) (%d+)') do
  redis.call('ZADD', pins, seq, id)
end
return 1
