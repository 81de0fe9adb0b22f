-- Purpose: how far each group of a topic is behind.
-- Guarantee: exact, unless entries were erased one by one.
-- KEYS[1] events  STREAM: the outbox of a partition
-- Returns: the length; then name, undelivered, pending and the age of the oldest unacknowledged entry in ms, of each group
-- Complexity: O(g) for g groups; O(n) for n undelivered entries where Redis does not count them.
local events = KEYS[1]

if redis.call('EXISTS', events) == 0 then
  return {'0'}
end
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local out = {tostring(redis.call('XLEN', events))}
for _, info in ipairs(redis.call('XINFO', 'GROUPS', events)) do
  local by = {}
  for i = 1, #info, 2 do
    by[info[i]] = info[i + 1]
  end
  local next = redis.call('XRANGE', events, '(' .. by['last-delivered-id'], '+', 'COUNT', 1)[1]
  local undelivered = by.lag or #redis.call('XRANGE', events, '(' .. by['last-delivered-id'], '+')
  local oldest = by.pending > 0 and redis.call('XPENDING', events, by.name)[2] or next and next[1]
  local age = oldest and now - tonumber(string.match(oldest, '^%d+')) or 0
  for _, value in ipairs({by.name, undelivered, by.pending, math.max(age, 0)}) do
    out[#out + 1] = tostring(value)
  end
end
return out
