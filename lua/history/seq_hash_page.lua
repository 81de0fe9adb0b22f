-- Purpose: a page of messages older than a cursor.
-- Guarantee: the cursor is a sequence, so pages do not drift when messages are added meanwhile.
-- KEYS[1] meta  hash: epoch, seq, last (the id at seq)
-- KEYS[2] log  hash: sequence to envelope
-- ARGV[1] before  only sequences below it; empty for the newest page
-- ARGV[2] limit  how many
-- Returns: envelopes, oldest first
-- Complexity: O(limit)
local meta = KEYS[1]
local log = KEYS[2]
local before = ARGV[1]
local limit = tonumber(ARGV[2])

if not (limit and limit > 0) or (before ~= '' and not tonumber(before)) then
  return redis.error_reply('ERR before must be empty or an integer, limit a positive integer')
end

local head = tonumber(redis.call('HGET', meta, 'seq') or '0')
local last = head
if before ~= '' then
  last = math.min(head, tonumber(before) - 1)
end
local seqs = {}
for seq = math.max(1, last - limit + 1), last do
  seqs[#seqs + 1] = seq
end
if #seqs == 0 then
  return {}
end
local page = {}
for _, envelope in ipairs(redis.call('HMGET', log, unpack(seqs))) do
  if envelope then
    page[#page + 1] = envelope
  end
end
return page
