-- Purpose: write a connection into the index of its lease, before the user's own entry.
-- Guarantee: nothing is written once the lease has run out, so a reaper that finds the index empty has seen all of it.
-- KEYS[1] connections  SET of the connections under the lease
-- ARGV[1] row  `USER CONNECTION`
-- ARGV[2] until_ms  when the lease runs out
-- Returns: 1, or 0 when the lease has run out
-- Complexity: O(1).
local connections = KEYS[1]
local row = ARGV[1]
local until_ms = tonumber(ARGV[2])

if not until_ms then
  return redis.error_reply('ERR until_ms must be an integer')
end

local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) > until_ms then
  return 0
end
redis.call('SADD', connections, row)
return 1
