-- Purpose: begin a new run of a room's sequence when a failover has lost the end of the old one.
-- Guarantee: numbers that were given once are not given again: the new run goes on above both; only the first who finds the loss
--   begins one, and nobody does where nothing was lost. The pins are forgotten then, to be looked up in the archive: one may be lost, too.
-- KEYS[1] meta  hash: epoch, seq
-- KEYS[2] log   sorted set: message id by sequence
-- KEYS[3] pins  sorted set: ids of the pinned messages
-- ARGV[1] epoch      of the position that somebody has seen
-- ARGV[2] seq        its sequence
-- ARGV[3] id         the message there; empty when only the number is known
-- ARGV[4] new_epoch  the epoch to begin
-- Returns: epoch, seq, id of where the room stands then; after a fence there is no message at seq, and id is empty
-- Complexity: O(log N) for N messages in the room
local meta = KEYS[1]
local log = KEYS[2]
local pins = KEYS[3]
local epoch = ARGV[1]
local seq = tonumber(ARGV[2])
local id = ARGV[3]
local new_epoch = ARGV[4]

if not (seq and seq >= 0) or new_epoch == '' then
  return redis.error_reply('ERR seq must be an integer from 0, new_epoch must not be empty')
end

local state = redis.call('HMGET', meta, 'epoch', 'seq')
local head_epoch = state[1] or ''
local head_seq = tonumber(state[2] or '0')
local there = redis.call('ZRANGEBYSCORE', log, seq, seq)[1]

local ours = head_epoch == epoch or head_epoch == ''
local lost = head_seq < seq or (id ~= '' and there and there ~= id)
if ours and lost then
  head_epoch = new_epoch
  head_seq = math.max(head_seq, seq)
  redis.call('HSET', meta, 'epoch', head_epoch, 'seq', string.format('%d', head_seq))
  redis.call('DEL', pins)
end
if head_epoch == '' then
  return {'', 0, ''}
end
return {head_epoch, head_seq, redis.call('ZRANGEBYSCORE', log, head_seq, head_seq)[1] or ''}
