-- Purpose: read a live session and move its idle expiry on.
-- Guarantee: a session that was revoked or ran out stays so; no expiry is ever later than the absolute one.
-- KEYS[1] sessions  HASH of the user's sessions: secret, JSON of device, created_ms, ends_ms
-- KEYS[2] expiries  ZSET of the same secrets, scored by the time each expires
-- ARGV[1] secret  the session's name in the index
-- ARGV[2] idle_ms  how long an unused session lives
-- Returns: {json, expires_ms}, or nil when the session is not live
-- Complexity: O(log n) for n sessions of the user.
local sessions = KEYS[1]
local expiries = KEYS[2]
local secret = ARGV[1]
local idle_ms = tonumber(ARGV[2])

if not (idle_ms and idle_ms > 0) then
  return redis.error_reply('ERR idle_ms must be a positive integer')
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local score = redis.call('ZSCORE', expiries, secret)
local json = redis.call('HGET', sessions, secret)
if not score or tonumber(score) <= now_ms or not json then
  redis.call('ZREM', expiries, secret)
  redis.call('HDEL', sessions, secret)
  return nil
end

local expires_ms = math.min(now_ms + idle_ms, cjson.decode(json).ends_ms)
redis.call('ZADD', expiries, expires_ms, secret)
local last_ms = redis.call('ZRANGE', expiries, -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIREAT', sessions, last_ms)
redis.call('PEXPIREAT', expiries, last_ms)
return {json, expires_ms}
