-- Purpose: start a login session in the user's one hash.
-- Guarantee: the session and its expiry appear together; sessions that ran out or are too many go.
-- KEYS[1] sessions  HASH of the user's sessions: secret, JSON of device, created_ms, ends_ms
-- KEYS[2] expiries  ZSET of the same secrets, scored by the time each expires
-- ARGV[1] secret  the session's name in the index
-- ARGV[2] device  what the user logged in with
-- ARGV[3] idle_ms  how long an unused session lives
-- ARGV[4] absolute_ms  how long any session lives
-- ARGV[5] max_sessions  the most live sessions; beyond it the ones that would end first go
-- Returns: {created_ms, expires_ms}
-- Complexity: O(log n + r log n) for n sessions of the user, r of them removed.
local sessions = KEYS[1]
local expiries = KEYS[2]
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

-- Fields have no expiry of their own: what ran out is swept here, at most max_sessions of them.
local gone = redis.call('ZRANGE', expiries, '-inf', now_ms, 'BYSCORE')
local over = redis.call('ZCARD', expiries) - #gone + 1 - max_sessions
if over > 0 then
  for _, name in ipairs(redis.call('ZRANGE', expiries, #gone, #gone + over - 1)) do
    gone[#gone + 1] = name
  end
end
if #gone > 0 then
  redis.call('ZREM', expiries, unpack(gone))
  redis.call('HDEL', sessions, unpack(gone))
end

redis.call('HSET', sessions, secret, cjson.encode({device = device, created_ms = now_ms, ends_ms = ends_ms}))
redis.call('ZADD', expiries, expires_ms, secret)
local last_ms = redis.call('ZRANGE', expiries, -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIREAT', sessions, last_ms)
redis.call('PEXPIREAT', expiries, last_ms)
return {now_ms, expires_ms}
