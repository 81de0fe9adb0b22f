-- Purpose: drop what every group is done with.
-- Guarantee: no event goes that some group still needs; without groups none goes.
-- KEYS[1] meta  HASH: head, and of each group its cursor (c:) and the lowest number that it needs (f:)
-- KEYS[2] log  ZSET: number, a blank and the event, by number
-- Returns: how many events were dropped
-- Complexity: O(g + log n + m) for g groups and m of n events dropped.
local meta = KEYS[1]
local log = KEYS[2]

local lowest
local all = redis.call('HGETALL', meta)
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 2) == 'f:' then
    lowest = math.min(lowest or math.huge, tonumber(all[i + 1]))
  end
end
if not lowest then
  return 0
end
return redis.call('ZREMRANGEBYSCORE', log, '-inf', '(' .. string.format('%.0f', lowest))
