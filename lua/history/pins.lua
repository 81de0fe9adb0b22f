-- Purpose: the pinned messages of a room.
-- Guarantee: the list and the messages belong together; a room whose pins are not known is told from one that has none.
-- KEYS[1] pins  sorted set: ids of the pinned messages by the sequence of their pin, and an empty member
-- KEYS[2] msg   hash: message id to envelope
-- Returns: 0 when they are not known, else 1; then the ids, the first pin first; then their envelopes, nil for one that is not here
-- Complexity: O(p) for p pins
local pins = KEYS[1]
local msg = KEYS[2]

if redis.call('EXISTS', pins) == 0 then
  return {0, {}, {}}
end
-- Without the empty member: it has the score 0.
local ids = redis.call('ZRANGEBYSCORE', pins, '(0', '+inf')
if #ids == 0 then
  return {1, {}, {}}
end
return {1, ids, redis.call('HMGET', msg, unpack(ids))}
