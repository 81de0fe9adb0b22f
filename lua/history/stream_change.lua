-- Purpose: edit or delete a message in its place.
-- Guarantee: id, sequence, sender and time stay; a deleted message is an empty one that says so, for good.
-- KEYS[1] log  stream: envelopes by `SEQ-0`
-- KEYS[2] at  hash: message id to sequence
-- KEYS[3] edits  hash: sequence to the envelope of a changed message
-- ARGV[1] id    the message's id
-- ARGV[2] what  edited or deleted
-- ARGV[3] by    who did it; may be empty
-- ARGV[4] body  the new body; ignored for deleted
-- Returns: the envelope as it is now; nil when the message is not there, or for an edit of a deleted one
-- Complexity: O(log N) for N messages in the room
local log = KEYS[1]
local at = KEYS[2]
local edits = KEYS[3]
local id = ARGV[1]
local what = ARGV[2]
local by = ARGV[3]
local body = ARGV[4]

if what ~= 'edited' and what ~= 'deleted' then
  return redis.error_reply('ERR what must be edited or deleted')
end

local seq = tonumber(redis.call('HGET', at, id) or nil)
if not seq then
  return nil
end
local entry = redis.call('XRANGE', log, string.format('%d-0', seq), string.format('%d-0', seq))[1]
local envelope = redis.call('HGET', edits, seq) or (entry and entry[2][2])
if not envelope then
  return nil
end
local head, json = envelope:match('^(%S+ %d+ %d+ )(.*)$')
local message = cjson.decode(json)
if message.changed and message.changed.what == 'deleted' then
  return what == 'deleted' and envelope or nil
end

local now = redis.call('TIME')
message.changed = {what = what, ts = now[1] * 1000 + math.floor(now[2] / 1000)}
if by ~= '' then
  message.changed.by = by
end
message.body = what == 'edited' and body or ''
envelope = head .. cjson.encode(message)
redis.call('HSET', edits, seq, envelope)
return envelope
