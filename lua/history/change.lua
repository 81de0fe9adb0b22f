-- Purpose: edit or delete a message in its place.
-- Guarantee: id, sequence, sender and time stay; a deleted message is an empty one that says so, for good.
-- KEYS[1] msg  hash: message id to envelope
-- ARGV[1] id    the message's id
-- ARGV[2] what  edited or deleted
-- ARGV[3] by    who did it; may be empty
-- ARGV[4] body  the new body; ignored for deleted
-- Returns: the envelope as it is now; nil when the message is not there, or for an edit of a deleted one
-- Complexity: O(1) in the number of messages, O(length) in the message's own
local msg = KEYS[1]
local id = ARGV[1]
local what = ARGV[2]
local by = ARGV[3]
local body = ARGV[4]

if what ~= 'edited' and what ~= 'deleted' then
  return redis.error_reply('ERR what must be edited or deleted')
end

local envelope = redis.call('HGET', msg, id)
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
redis.call('HSET', msg, id, envelope)
return envelope
