-- Purpose: exchange a session's refresh token for the next one.
-- Guarantee: each token is exchanged once. One that was exchanged before is in two hands, and one of them is a thief's:
--   the session ends for both, in the same step.
-- KEYS[1] session  HASH of the session: device, created_ms, ends_ms, refresh (absent before the first exchange)
-- KEYS[2] sessions  ZSET of the user's sessions: secret, scored by the time it expires
-- ARGV[1] secret  the session's name in the index
-- ARGV[2] token  the number of the token, from 0
-- ARGV[3] idle_ms  how long an unused session lives
-- Returns: the number of the next token; -1 when the session had to end; nil when it is not live
-- Complexity: O(log n) for n sessions of the user.
local session = KEYS[1]
local sessions = KEYS[2]
local secret = ARGV[1]
local token = tonumber(ARGV[2])
local idle_ms = tonumber(ARGV[3])

if not (token and token >= 0 and idle_ms and idle_ms > 0) then
  return redis.error_reply('ERR token must be 0 or more, idle_ms a positive integer')
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local score = redis.call('ZSCORE', sessions, secret)
local fields = redis.call('HMGET', session, 'ends_ms', 'refresh')
local ends_ms, refresh = tonumber(fields[1] or nil), tonumber(fields[2] or 0)
if not score or tonumber(score) <= now_ms or not ends_ms or ends_ms <= now_ms then
  redis.call('ZREM', sessions, secret)
  redis.call('UNLINK', session)
  return nil
end
if token ~= refresh then
  redis.call('ZREM', sessions, secret)
  redis.call('UNLINK', session)
  return -1
end

local expires_ms = math.min(now_ms + idle_ms, ends_ms)
redis.call('HSET', session, 'refresh', refresh + 1)
redis.call('PEXPIREAT', session, expires_ms)
redis.call('ZADD', sessions, expires_ms, secret)
redis.call('PEXPIREAT', sessions, redis.call('ZRANGE', sessions, -1, -1, 'WITHSCORES')[2])
return refresh + 1
