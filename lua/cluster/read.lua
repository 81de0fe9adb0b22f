-- Purpose: read the newest sequence and the messages up to it.
-- Guarantee: both belong to one instant.
-- KEYS[1] seq  STRING, the newest sequence of the room
-- KEYS[2] log  HASH of sequence to text
-- ARGV[1] count  how many of the newest sequences are looked at
-- Returns: {newest sequence, {sequence, text, sequence, text, ...}}, oldest first; moved messages are left out
-- Complexity: O(count)
local seq = KEYS[1]
local log = KEYS[2]
local count = tonumber(ARGV[1])

if not (count and count > 0 and count <= 100) then
  return redis.error_reply('ERR count must be an integer from 1 to 100')
end

local newest = tonumber(redis.call('GET', seq) or '0')
local wanted = {}
for number = math.max(1, newest - count + 1), newest do
  wanted[#wanted + 1] = number
end
if #wanted == 0 then
  return {newest, {}}
end
local texts = redis.call('HMGET', log, unpack(wanted))
local found = {}
for i, text in ipairs(texts) do
  if text then
    found[#found + 1] = wanted[i]
    found[#found + 1] = text
  end
end
return {newest, found}
