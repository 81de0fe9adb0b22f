-- Purpose: write down when connections must be looked at, should nobody refresh them any more.
-- Guarantee: all of the rows, at one instant by the server's clock.
-- KEYS[1] due  ZSET of `USER CONNECTION`, scored by the time at which to look
-- ARGV[1] due_ms  how long from now
-- ARGV[2] keep_ms  how long the index itself stays without any touch
-- ARGV[3] rows  `USER CONNECTION`, one a line
-- Returns: how many rows
-- Complexity: O(r log n) for r rows among n connections of all instances.
local due = KEYS[1]
local due_ms = tonumber(ARGV[1])
local keep_ms = tonumber(ARGV[2])
local rows = ARGV[3]

if not (due_ms and due_ms > 0 and keep_ms and keep_ms > 0) then
  return redis.error_reply('ERR due_ms and keep_ms must be positive integers')
end

local time = redis.call('TIME')
local at_ms = time[1] * 1000 + math.floor(time[2] / 1000) + due_ms
local count = 0
for row in string.gmatch(rows, '[^\n]+') do
  redis.call('ZADD', due, at_ms, row)
  count = count + 1
end
redis.call('PEXPIRE', due, keep_ms)
return count
