-- Purpose: acknowledge entries, and drop what every group is done with and nobody may want to replay any more.
-- Guarantee: no entry goes that some group has not acknowledged, nor one that is younger than kept_ms.
-- KEYS[1] events  STREAM: the outbox of a partition
-- ARGV[1] group  the group
-- ARGV[2] ids  of the entries, separated by spaces
-- ARGV[3] kept_ms  how long an entry stays for replays
-- Returns: how many entries were acknowledged, how many were dropped
-- Complexity: O(a + g + n) for a acknowledged entries, g groups and n dropped entries.
local events = KEYS[1]
local group = ARGV[1]
local ids = ARGV[2]
local kept_ms = tonumber(ARGV[3])

local acked = 0
for id in string.gmatch(ids, '%S+') do
  acked = acked + redis.call('XACK', events, group, id)
end

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local now = redis.call('TIME')
local lowest_ms = now[1] * 1000 + math.floor(now[2] / 1000) - kept_ms
local lowest_seq = 0
for _, info in ipairs(redis.call('XINFO', 'GROUPS', events)) do
  local by = {}
  for i = 1, #info, 2 do
    by[info[i]] = info[i + 1]
  end
  local ms, seq
  if by.pending > 0 then
    ms, seq = parts(redis.call('XPENDING', events, by.name)[2])
  else
    ms, seq = parts(by['last-delivered-id'])
    seq = seq + 1
  end
  if ms < lowest_ms or (ms == lowest_ms and seq < lowest_seq) then
    lowest_ms, lowest_seq = ms, seq
  end
end
if lowest_ms <= 0 then
  return {acked, 0}
end
-- Whole nodes of the stream only: exact trimming would copy the first node each time.
return {acked, redis.call('XTRIM', events, 'MINID', '~', string.format('%.0f-%.0f', lowest_ms, lowest_seq))}
