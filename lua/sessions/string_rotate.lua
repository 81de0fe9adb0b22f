-- Purpose: exchange the refresh token of a session that is one JSON string.
-- Guarantee: each token is exchanged once; one that was exchanged before ends the session, in the same step.
-- KEYS[1] session  STRING, JSON of device, created_ms, ends_ms, refresh (absent before the first exchange)
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

local json = redis.call('GET', session)
local score = redis.call('ZSCORE', sessions, secret)
if not json or not score or tonumber(score) <= now_ms then
  return nil
end
local stored = cjson.decode(json)
local refresh = stored.refresh or 0
if token ~= refresh then
  redis.call('ZREM', sessions, secret)
  redis.call('UNLINK', session)
  return -1
end

local expires_ms = math.min(now_ms + idle_ms, stored.ends_ms)
stored.refresh = refresh + 1
redis.call('SET', session, cjson.encode(stored), 'PXAT', expires_ms)
redis.call('ZADD', sessions, expires_ms, secret)
redis.call('PEXPIREAT', sessions, redis.call('ZRANGE', sessions, -1, -1, 'WITHSCORES')[2])
return refresh + 1
