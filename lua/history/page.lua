-- Purpose: a page of messages older than a cursor.
-- Guarantee: pages do not drift when messages are added meanwhile, since the cursor is a sequence and no offset.
-- KEYS[1] log  sorted set: message id by sequence
-- KEYS[2] msg  hash: message id to envelope
-- ARGV[1] before  only sequences below it; empty for the newest page
-- ARGV[2] limit   how many
-- Returns: envelopes, newest first
-- Complexity: O(log N + limit) for N messages in the room
local log = KEYS[1]
local msg = KEYS[2]
local before = ARGV[1]
local limit = tonumber(ARGV[2])

if not (limit and limit > 0) or (before ~= '' and not tonumber(before)) then
  return redis.error_reply('ERR before must be empty or an integer, limit a positive integer')
end

local max = '+inf'
if before ~= '' then
  max = '(' .. before
end
local ids = redis.call('ZREVRANGEBYSCORE', log, max, '-inf', 'LIMIT', 0, limit)
if #ids == 0 then
  return {}
end
return redis.call('HMGET', msg, unpack(ids))
