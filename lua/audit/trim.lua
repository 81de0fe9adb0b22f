-- Purpose: drop what every group is done with.
-- Guarantee: no entry goes that some group has not acknowledged; without groups none goes.
-- KEYS[1] log  STREAM: one entry an event
-- Returns: how many entries were dropped
-- Complexity: O(g + n) for g groups and n dropped entries.
local log = KEYS[1]

if redis.call('EXISTS', log) == 0 then
  return 0
end
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local lowest_ms, lowest_seq
for _, info in ipairs(redis.call('XINFO', 'GROUPS', log)) do
  local by = {}
  for i = 1, #info, 2 do
    by[info[i]] = info[i + 1]
  end
  local ms, seq
  if by.pending > 0 then
    ms, seq = parts(redis.call('XPENDING', log, by.name)[2])
  else
    ms, seq = parts(by['last-delivered-id'])
    seq = seq + 1
  end
  if not lowest_ms or ms < lowest_ms or (ms == lowest_ms and seq < lowest_seq) then
    lowest_ms, lowest_seq = ms, seq
  end
end
if not lowest_ms then
  return 0
end
return redis.call('XTRIM', log, 'MINID', '=', string.format('%.0f-%.0f', lowest_ms, lowest_seq))
