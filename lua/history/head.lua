-- Purpose: where a room's history stands.
-- Guarantee: epoch, sequence and message id belong together.
-- KEYS[1] meta  hash: epoch, seq
-- KEYS[2] log   sorted set: message id by sequence
-- Returns: epoch, seq, id; an empty epoch, 0 and an empty id for a room without messages
-- Complexity: O(log N) for N messages in the room
local meta = KEYS[1]
local log = KEYS[2]

local state = redis.call('HMGET', meta, 'epoch', 'seq')
if not state[1] or not state[2] then
  return {'', 0, ''}
end
local at = redis.call('ZRANGEBYSCORE', log, state[2], state[2])
return {state[1], tonumber(state[2]), at[1] or ''}
