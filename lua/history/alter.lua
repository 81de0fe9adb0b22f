-- Purpose: do something to a message by a message of its own that has its place in the room's order: edit it, delete it, pin it, react.
-- Guarantee: all or nothing on the node; numbering, retries and announcement as in history/append; the message that it is about
--   keeps its id, place, sender and time; a deletion takes the text out of the message and out of its edits, for good.
-- KEYS[1] meta     hash: epoch, seq
-- KEYS[2] log      sorted set: message id by sequence
-- KEYS[3] msg      hash: message id to envelope
-- KEYS[4] sent     string: the answer to this sender's message id, `EPOCH SEQ ID TS`
-- KEYS[5] events   stream: the outbox of the partition
-- KEYS[6] live     channel of the room
-- KEYS[7] pins     sorted set: ids of the pinned messages by the sequence of their pin, and an empty member, so that a room without
--   pins is told from one whose pins are not known
-- KEYS[8] changes  sorted set: the sequences of messages that are about others
-- ARGV[1] new_epoch   the epoch to begin when the room has none
-- ARGV[2] id          the id of the change
-- ARGV[3] json        the change without what this script adds
-- ARGV[4] sent_ttl_ms how long a retry is recognised
-- ARGV[5] hot_max     how many messages stay
-- ARGV[6] stream_max  the most outbox entries that wait for a group; without groups about how many stay
-- ARGV[7] publish     PUBLISH or SPUBLISH
-- ARGV[8] about       the id of the message that is changed
-- ARGV[9] what        edit, delete, pin, unpin, react or unreact
-- ARGV[10] by         who does it
-- ARGV[11] others     1 when they may edit or delete what others wrote
-- ARGV[12] body       the new body of an edit, the emoji of a reaction; else ignored
-- ARGV[13] edits_max  how often a message can be edited
-- ARGV[14] pins_max   how many messages of the room can be pinned
-- ARGV[15] reactions_max  how many reactions a message can have
-- ARGV[16] older      empty, or `-` and the ids of its edits, for a message that was looked up elsewhere because it is not here
-- Returns: 'ok', epoch, seq, id, ts (milliseconds), 1 for a retry or 0; or one word: absent, gone, foreign, no_text, too_often,
--   same and none (it is so already), full (pins_max, reactions_max), unlisted (the pins of the room are not known)
-- Complexity: O(log N) for N messages in the room, O(edits_max) for a deletion, O(reactions_max) for a reaction; at most 16 old
--   messages are trimmed a call, and the changes that are older than what is kept, each of them once
local meta = KEYS[1]
local log = KEYS[2]
local msg = KEYS[3]
local sent = KEYS[4]
local events = KEYS[5]
local live = KEYS[6]
local pins = KEYS[7]
local changes = KEYS[8]
local new_epoch = ARGV[1]
local id = ARGV[2]
local json = ARGV[3]
local sent_ttl_ms = tonumber(ARGV[4])
local hot_max = tonumber(ARGV[5])
local stream_max = tonumber(ARGV[6])
local publish = ARGV[7]
local about = ARGV[8]
local what = ARGV[9]
local by = ARGV[10]
local others = ARGV[11]
local body = ARGV[12]
local edits_max = tonumber(ARGV[13])
local pins_max = tonumber(ARGV[14])
local reactions_max = tonumber(ARGV[15])
local older = ARGV[16]
local TRIM_PER_CALL = 16

-- Before anything is written: an error further down would leave half of it.
if not (sent_ttl_ms and sent_ttl_ms > 0 and hot_max and hot_max > 0 and stream_max and stream_max > 0) then
  return redis.error_reply('ERR sent_ttl_ms, hot_max and stream_max must be positive integers')
end
if not (edits_max and pins_max and reactions_max) then
  return redis.error_reply('ERR edits_max, pins_max and reactions_max must be integers')
end
if publish ~= 'PUBLISH' and publish ~= 'SPUBLISH' then
  return redis.error_reply('ERR publish must be PUBLISH or SPUBLISH')
end
local edits_it = what == 'edit'
local deletes_it = what == 'delete'
local about_pins = what == 'pin' or what == 'unpin'
local reacts = what == 'react' or what == 'unreact'
if not (edits_it or deletes_it or about_pins or reacts) then
  return redis.error_reply('ERR what must be edit, delete, pin, unpin, react or unreact')
end

local before = redis.call('GET', sent)
if before then
  local epoch, seq, first_id, ts = before:match('^(%S+) (%d+) (%S+) (%d+)$')
  return {'ok', epoch, tonumber(seq), first_id, tonumber(ts), 1}
end

local function read(envelope)
  local head, text = envelope:match('^(%S+ %d+ %d+ )(.*)$')
  return head, cjson.decode(text)
end

local stored = redis.call('HGET', msg, about)
local head, message
local edits = {}
if stored then
  head, message = read(stored)
  edits = message.edits or edits
  if (message.kind or 'text') ~= 'text' then
    return {'no_text'}
  end
  if message.changed and message.changed.what == 'deleted' then
    return {'gone'}
  end
  if (edits_it or deletes_it) and message.from ~= by and others ~= '1' then
    return {'foreign'}
  end
elseif older == '' then
  return {'absent'}
else
  for edit in older:sub(2):gmatch('%S+') do
    edits[#edits + 1] = edit
  end
end
if edits_it and #edits >= edits_max then
  return {'too_often'}
end

if about_pins then
  if redis.call('EXISTS', pins) == 0 then
    return {'unlisted'}
  end
  local pinned = redis.call('ZSCORE', pins, about)
  if what == 'unpin' and not pinned then
    return {'none'}
  end
  if what == 'pin' and pinned then
    return {'same'}
  end
  -- One member stands for none.
  if what == 'pin' and redis.call('ZCARD', pins) > pins_max then
    return {'full'}
  end
end

-- The reactions as they will be: a list of {emoji, users}, the first emoji first.
local reactions = {}
if reacts and message then
  local count, found = 0, false
  for _, reaction in ipairs(message.reactions or {}) do
    local users = {}
    for _, user in ipairs(reaction.users) do
      if reaction.emoji == body and user == by then
        found = true
      end
      if what == 'react' or reaction.emoji ~= body or user ~= by then
        users[#users + 1] = user
      end
    end
    if what == 'react' and reaction.emoji == body then
      users[#users + 1] = by
    end
    if #users > 0 then
      reactions[#reactions + 1] = {emoji = reaction.emoji, users = users}
    end
    count = count + #reaction.users
  end
  if what == 'unreact' and not found then
    return {'none'}
  end
  if what == 'react' and found then
    return {'same'}
  end
  if what == 'react' and count >= reactions_max then
    return {'full'}
  end
  if what == 'react' then
    local listed = false
    for _, reaction in ipairs(reactions) do
      listed = listed or reaction.emoji == body
    end
    if not listed then
      reactions[#reactions + 1] = {emoji = body, users = {by}}
    end
  end
end

-- What a group has not read yet must not go: a full outbox refuses. One that nobody reads drops its oldest.
if redis.call('XLEN', events) >= stream_max and #redis.call('XINFO', 'GROUPS', events) > 0 then
  return redis.error_reply('OUTBOXFULL a group that reads ' .. events .. ' is behind')
end

local epoch = redis.call('HGET', meta, 'epoch')
if not epoch then
  epoch = new_epoch
  redis.call('HSET', meta, 'epoch', epoch)
end
local seq = redis.call('HINCRBY', meta, 'seq', 1)
local now = redis.call('TIME')
local ts = now[1] * 1000 + math.floor(now[2] / 1000)

-- The text goes out of every edit that is still here.
if deletes_it then
  for _, edit in ipairs(edits) do
    local envelope = redis.call('HGET', msg, edit)
    if envelope then
      local place, change = read(envelope)
      change.body = ''
      redis.call('HSET', msg, edit, place .. cjson.encode(change))
    end
  end
  redis.call('ZREM', pins, about)
end
if what == 'pin' then
  redis.call('ZADD', pins, seq, about)
elseif what == 'unpin' then
  redis.call('ZREM', pins, about)
end
if message and not about_pins then
  if edits_it then
    message.changed = {what = 'edited', ts = ts, by = by}
    message.body = body
    edits[#edits + 1] = id
    message.edits = edits
  elseif deletes_it then
    message.changed = {what = 'deleted', ts = ts, by = by}
    message.body = ''
    message.edits = nil
    message.reactions = nil
  else
    message.reactions = #reactions > 0 and reactions or nil
  end
  redis.call('HSET', msg, about, head .. cjson.encode(message))
end

-- string.format, because Lua would write a large number as 1.7e+12.
local envelope = string.format('%s %d %d ', epoch, seq, ts) .. json
redis.call('ZADD', log, seq, id)
redis.call('ZADD', changes, seq, seq)
redis.call('HSET', msg, id, envelope)
redis.call('SET', sent, string.format('%s %d %s %d', epoch, seq, id, ts), 'PX', sent_ttl_ms)
redis.call('XADD', events, 'MAXLEN', '~', stream_max, '*', 'envelope', envelope)

if seq > hot_max then
  local old = redis.call('ZRANGEBYSCORE', log, '-inf', seq - hot_max, 'LIMIT', 0, TRIM_PER_CALL)
  if #old > 0 then
    redis.call('ZREM', log, unpack(old))
    redis.call('HDEL', msg, unpack(old))
  end
  redis.call('ZREMRANGEBYSCORE', changes, '-inf', seq - hot_max)
end

redis.call(publish, live, envelope)
return {'ok', epoch, seq, id, ts, 0}
