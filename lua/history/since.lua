-- Purpose: what came after a position that a client claims to have seen.
-- Guarantee: never a silent gap: the position counts only if its epoch is the room's and the message at its
--   sequence is the one the client names; and only if the message right after it is still here.
-- KEYS[1] meta  hash: epoch, seq
-- KEYS[2] log   sorted set: message id by sequence
-- KEYS[3] msg   hash: message id to envelope
-- ARGV[1] epoch  the client's epoch; empty if it saw the room empty
-- ARGV[2] seq    the last sequence it saw, or 0
-- ARGV[3] id     the message it saw there; empty with 0
-- ARGV[4] limit  how many at most
-- Returns: {'resync', epoch, seq, id} with the head, or {'ok', 1 when there are more or 0, envelopes, oldest first}
-- Complexity: O(log N + limit) for N messages in the room
local meta = KEYS[1]
local log = KEYS[2]
local msg = KEYS[3]
local epoch = ARGV[1]
local seq = tonumber(ARGV[2])
local id = ARGV[3]
local limit = tonumber(ARGV[4])

if not (seq and seq >= 0 and limit and limit > 0) then
  return redis.error_reply('ERR seq must be an integer from 0, limit a positive integer')
end

local state = redis.call('HMGET', meta, 'epoch', 'seq')
local head_epoch = state[1] or ''
local head_seq = tonumber(state[2] or '0')

local function resync()
  local at = redis.call('ZRANGEBYSCORE', log, head_seq, head_seq)
  return {'resync', head_epoch, head_seq, at[1] or ''}
end

if seq == 0 then
  if epoch ~= '' and epoch ~= head_epoch then
    return resync()
  end
else
  local at = redis.call('ZRANGEBYSCORE', log, seq, seq)
  -- A fence leaves a number without a message.
  if epoch ~= head_epoch or (at[1] or '') ~= id then
    return resync()
  end
end

local ids = redis.call('ZRANGEBYSCORE', log, string.format('(%d', seq), '+inf', 'LIMIT', 0, limit + 1)
if #ids == 0 then
  if head_seq > seq then
    return resync()
  end
  return {'ok', 0, {}}
end
if tonumber(redis.call('ZSCORE', log, ids[1])) ~= seq + 1 then
  return resync()
end
local more = 0
if #ids > limit then
  more = 1
  ids[#ids] = nil
end
return {'ok', more, redis.call('HMGET', msg, unpack(ids))}
