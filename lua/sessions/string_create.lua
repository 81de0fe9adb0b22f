-- Purpose: start a login session that is stored as one JSON string.
-- Guarantee: the session, its index entry and both expiries appear together, or nothing does.
-- KEYS[1] session  STRING, JSON of device, created_ms, ends_ms
-- KEYS[2] sessions  ZSET of the user's sessions: secret, scored by the time it expires
-- ARGV[1] secret  the session's name in the index
-- ARGV[2] device  what the user logged in with
-- ARGV[3] idle_ms  how long an unused session lives
-- ARGV[4] absolute_ms  how long any session lives
-- ARGV[5] max_sessions  the most live sessions; beyond it the ones that would end first go
-- Returns: {created_ms, expires_ms, {secret of each session that had to go}}
-- Complexity: O(log n) for n sessions of the user, plus O(1) for each one that is removed.
local session = KEYS[1]
local sessions = KEYS[2]
local secret = ARGV[1]
local device = ARGV[2]
local idle_ms = tonumber(ARGV[3])
local absolute_ms = tonumber(ARGV[4])
local max_sessions = tonumber(ARGV[5])

if not (idle_ms and idle_ms > 0 and absolute_ms and absolute_ms > 0 and max_sessions and max_sessions > 0) then
  return redis.error_reply('ERR idle_ms, absolute_ms and max_sessions must be positive integers')
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local ends_ms = now_ms + absolute_ms
local expires_ms = math.min(now_ms + idle_ms, ends_ms)

redis.call('ZREMRANGEBYSCORE', sessions, '-inf', now_ms)
local gone = {}
local over = redis.call('ZCARD', sessions) + 1 - max_sessions
if over > 0 then
  local popped = redis.call('ZPOPMIN', sessions, over)
  for i = 1, #popped, 2 do
    gone[#gone + 1] = popped[i]
  end
end

local json = cjson.encode({device = device, created_ms = now_ms, ends_ms = ends_ms})
redis.call('SET', session, json, 'PXAT', expires_ms)
redis.call('ZADD', sessions, expires_ms, secret)
redis.call('PEXPIREAT', sessions, redis.call('ZRANGE', sessions, -1, -1, 'WITHSCORES')[2])
return {now_ms, expires_ms, gone}
