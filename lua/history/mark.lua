-- Purpose: say how far a member has read a room and what has come to them, and how much is unread.
-- Guarantee: marks move forward only, and not past the last message; what is read has come; all of it at one instant.
-- KEYS[1] meta     hash: epoch, seq
-- KEYS[2] log      sorted set: message id by sequence
-- KEYS[3] changes  sorted set: the sequences of messages that are about others
-- KEYS[4] marks    hash: user to `READ DELIVERED`
-- ARGV[1] user       who
-- ARGV[2] read       everything up to it was read; 0 to leave that as it is
-- ARGV[3] delivered  everything up to it has come; 0 to leave that as it is
-- Returns: the last sequence, read, delivered, how many messages that are not about others came after read, 1 when a mark moved
-- Complexity: O(log N) for N messages in the room
local meta = KEYS[1]
local log = KEYS[2]
local changes = KEYS[3]
local marks = KEYS[4]
local user = ARGV[1]
local read = tonumber(ARGV[2])
local delivered = tonumber(ARGV[3])

if user == '' or not (read and read >= 0 and delivered and delivered >= 0) then
  return redis.error_reply('ERR user must not be empty, read and delivered must be integers from 0')
end

local head = tonumber(redis.call('HGET', meta, 'seq') or '0')
local before_read, before_delivered = 0, 0
local stored = redis.call('HGET', marks, user)
if stored then
  before_read, before_delivered = stored:match('^(%d+) (%d+)$')
  before_read, before_delivered = tonumber(before_read), tonumber(before_delivered)
end
read = math.max(before_read, math.min(read, head))
delivered = math.max(before_delivered, math.min(delivered, head), read)
local moved = read > before_read or delivered > before_delivered
if moved then
  redis.call('HSET', marks, user, string.format('%d %d', read, delivered))
end

-- Of those that are here: the numbers of changes go later than their messages.
local from = read + 1
local oldest = redis.call('ZRANGE', log, 0, 0, 'WITHSCORES')[2]
if oldest then
  from = math.max(from, tonumber(oldest))
end
local unread = redis.call('ZCOUNT', log, from, '+inf') - redis.call('ZCOUNT', changes, from, '+inf')
return {head, read, delivered, unread, moved and 1 or 0}
