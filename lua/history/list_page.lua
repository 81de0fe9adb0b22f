-- Purpose: a page of messages older than a cursor.
-- Guarantee: the cursor is a sequence, so pages do not drift when messages are added meanwhile.
-- KEYS[1] meta  hash: epoch, seq, last (the id at seq)
-- KEYS[2] log  list: envelopes, oldest first
-- ARGV[1] before  only sequences below it; empty for the newest page
-- ARGV[2] limit  how many
-- Returns: envelopes, oldest first
-- Complexity: O(d + limit) for a page d messages away from the nearer end
local meta = KEYS[1]
local log = KEYS[2]
local before = ARGV[1]
local limit = tonumber(ARGV[2])

if not (limit and limit > 0) or (before ~= '' and not tonumber(before)) then
  return redis.error_reply('ERR before must be empty or an integer, limit a positive integer')
end

local head = tonumber(redis.call('HGET', meta, 'seq') or '0')
local first = head - redis.call('LLEN', log) + 1
local last = head
if before ~= '' then
  last = math.min(head, tonumber(before) - 1)
end
if last < first then
  return {}
end
-- Sequences have no hole: a message's index is its distance from the oldest one.
return redis.call('LRANGE', log, math.max(0, last - limit + 1 - first), last - first)
