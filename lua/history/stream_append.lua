-- Purpose: append a message to a room that is a stream whose entry ids are the sequences.
-- Guarantee: as history/append: all or nothing, a retry changes nothing, sequences have no hole.
-- KEYS[1] meta  hash: epoch, seq, last (the id at seq)
-- KEYS[2] log  stream: envelopes by `SEQ-0`
-- KEYS[3] at  hash: message id to sequence
-- KEYS[4] edits  hash: sequence to the envelope of a changed message
-- KEYS[5] sent  string: the answer to this sender's message id, `EPOCH SEQ ID TS`
-- KEYS[6] events  stream: the outbox of the partition
-- KEYS[7] live  channel of the room
-- ARGV[1] new_epoch  the epoch to begin when the room has none
-- ARGV[2] id  the message's id
-- ARGV[3] json  the message without what this script adds
-- ARGV[4] sent_ttl_ms  how long a retry is recognised
-- ARGV[5] hot_max  how many messages stay
-- ARGV[6] stream_max  the most outbox entries that wait for a group; without groups about how many stay
-- ARGV[7] publish  PUBLISH or SPUBLISH
-- Returns: epoch, seq, id, ts (milliseconds), 1 for a retry or 0
-- Complexity: O(1); at most 16 old messages are trimmed a call
local meta = KEYS[1]
local log = KEYS[2]
local at = KEYS[3]
local edits = KEYS[4]
local sent = KEYS[5]
local events = KEYS[6]
local live = KEYS[7]
local new_epoch = ARGV[1]
local id = ARGV[2]
local json = ARGV[3]
local sent_ttl_ms = tonumber(ARGV[4])
local hot_max = tonumber(ARGV[5])
local stream_max = tonumber(ARGV[6])
local publish = ARGV[7]
local TRIM_PER_CALL = 16

if not (sent_ttl_ms and sent_ttl_ms > 0 and hot_max and hot_max > 0 and stream_max and stream_max > 0) then
  return redis.error_reply('ERR sent_ttl_ms, hot_max and stream_max must be positive integers')
end
if publish ~= 'PUBLISH' and publish ~= 'SPUBLISH' then
  return redis.error_reply('ERR publish must be PUBLISH or SPUBLISH')
end

local before = redis.call('GET', sent)
if before then
  local epoch, seq, first_id, ts = before:match('^(%S+) (%d+) (%S+) (%d+)$')
  return {epoch, tonumber(seq), first_id, tonumber(ts), 1}
end

redis.call('HSETNX', meta, 'epoch', new_epoch)
-- What a group has not read yet must not go: a full outbox refuses. One that nobody reads drops its oldest.
if redis.call('XLEN', events) >= stream_max and #redis.call('XINFO', 'GROUPS', events) > 0 then
  return redis.error_reply('OUTBOXFULL a group that reads ' .. events .. ' is behind')
end

local epoch = redis.call('HGET', meta, 'epoch')
local seq = redis.call('HINCRBY', meta, 'seq', 1)
redis.call('HSET', meta, 'last', id)
local now = redis.call('TIME')
local ts = now[1] * 1000 + math.floor(now[2] / 1000)
local envelope = string.format('%s %d %d ', epoch, seq, ts) .. json

local function forget(old)
  redis.call('HDEL', at, cjson.decode(old:match('^%S+ %d+ %d+ (.*)$')).id)
end

redis.call('HSET', at, id, seq)
redis.call('XADD', log, string.format('%d-0', seq), 'envelope', envelope)
if seq > hot_max then
  local upto = string.format('%d-0', seq - hot_max)
  for _, old in ipairs(redis.call('XRANGE', log, '-', upto, 'COUNT', TRIM_PER_CALL)) do
    forget(old[2][2])
    redis.call('HDEL', edits, old[1]:match('^%d+'))
    redis.call('XDEL', log, old[1])
  end
end

redis.call('SET', sent, string.format('%s %d %s %d', epoch, seq, id, ts), 'PX', sent_ttl_ms)
redis.call('XADD', events, 'MAXLEN', '~', stream_max, '*', 'envelope', envelope)
redis.call(publish, live, envelope)
return {epoch, seq, id, ts, 0}
