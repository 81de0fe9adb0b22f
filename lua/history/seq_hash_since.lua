-- Purpose: what came after a position that a client claims to have seen.
-- Guarantee: as history/since: never a silent gap.
-- KEYS[1] meta  hash: epoch, seq, last (the id at seq)
-- KEYS[2] log  hash: sequence to envelope
-- KEYS[3] at  hash: message id to sequence
-- ARGV[1] epoch  the client's epoch; empty if it saw the room empty
-- ARGV[2] seq  the last sequence it saw, or 0
-- ARGV[3] id  the message it saw there; empty with 0
-- ARGV[4] limit  how many at most
-- Returns: {'resync', epoch, seq, id} with the head, or {'ok', 1 when there are more or 0, envelopes, oldest first}
-- Complexity: O(limit)
local meta = KEYS[1]
local log = KEYS[2]
local at = KEYS[3]
local epoch = ARGV[1]
local seq = tonumber(ARGV[2])
local id = ARGV[3]
local limit = tonumber(ARGV[4])

if not (seq and seq >= 0 and limit and limit > 0) then
  return redis.error_reply('ERR seq must be an integer from 0, limit a positive integer')
end

local state = redis.call('HMGET', meta, 'epoch', 'seq', 'last')
local head_epoch = state[1] or ''
local head_seq = tonumber(state[2] or '0')
local function resync()
  return {'resync', head_epoch, head_seq, state[3] or ''}
end

local known
if seq == 0 then
  known = epoch == '' or epoch == head_epoch
else
  known = epoch == head_epoch and tonumber(redis.call('HGET', at, id) or '0') == seq
end
if not known then
  return resync()
end
if seq == head_seq then
  return {'ok', 0, {}}
end

local seqs = {}
for next_seq = seq + 1, math.min(head_seq, seq + limit + 1) do
  seqs[#seqs + 1] = next_seq
end
local envelopes = redis.call('HMGET', log, unpack(seqs))
if not envelopes[1] then
  return resync()
end
local more = 0
if #envelopes > limit then
  more = 1
  envelopes[#envelopes] = nil
end
return {'ok', more, envelopes}
