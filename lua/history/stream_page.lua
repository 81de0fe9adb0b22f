-- Purpose: a page of messages older than a cursor.
-- Guarantee: the cursor is a sequence, so pages do not drift when messages are added meanwhile.
-- KEYS[1] log  stream: envelopes by `SEQ-0`
-- KEYS[2] edits  hash: sequence to the envelope of a changed message
-- ARGV[1] before  only sequences below it; empty for the newest page
-- ARGV[2] limit  how many
-- Returns: envelopes, oldest first
-- Complexity: O(log N + limit) for N messages in the room
local log = KEYS[1]
local edits = KEYS[2]
local before = ARGV[1]
local limit = tonumber(ARGV[2])

if not (limit and limit > 0) or (before ~= '' and not tonumber(before)) then
  return redis.error_reply('ERR before must be empty or an integer, limit a positive integer')
end

-- A stream's entries cannot be changed: what was edited is taken from the hash.
local function current(entries)
  if #entries == 0 then
    return {}
  end
  local seqs, envelopes = {}, {}
  for i, entry in ipairs(entries) do
    seqs[i] = entry[1]:match('^%d+')
    envelopes[i] = entry[2][2]
  end
  for i, edited in ipairs(redis.call('HMGET', edits, unpack(seqs))) do
    envelopes[i] = edited or envelopes[i]
  end
  return envelopes
end

local last = '+'
if before ~= '' then
  last = string.format('(%d-0', tonumber(before))
end
local entries = redis.call('XREVRANGE', log, last, '-', 'COUNT', limit)
local oldest_first = {}
for i = #entries, 1, -1 do
  oldest_first[#oldest_first + 1] = entries[i]
end
return current(oldest_first)
