-- Purpose: exchange a session's refresh token for the next one.
-- Guarantee: each token is exchanged once; one that was exchanged before ends the session, in the same step.
-- KEYS[1] sessions  HASH of the user's sessions: secret, JSON of device, created_ms, ends_ms, refresh
-- KEYS[2] expiries  ZSET of the same secrets, scored by the time each expires
-- ARGV[1] secret  the session's name in the index
-- ARGV[2] token  the number of the token, from 0
-- ARGV[3] idle_ms  how long an unused session lives
-- Returns: the number of the next token; -1 when the session had to end; nil when it is not live
-- Complexity: O(log n) for n sessions of the user.
local sessions = KEYS[1]
local expiries = KEYS[2]
local secret = ARGV[1]
local token = tonumber(ARGV[2])
local idle_ms = tonumber(ARGV[3])

if not (token and token >= 0 and idle_ms and idle_ms > 0) then
  return redis.error_reply('ERR token must be 0 or more, idle_ms a positive integer')
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local score = redis.call('ZSCORE', expiries, secret)
local json = redis.call('HGET', sessions, secret)
local stored = json and cjson.decode(json)
local refresh = stored and (stored.refresh or 0)
local live = score and tonumber(score) > now_ms and stored
if not live or token ~= refresh then
  redis.call('ZREM', expiries, secret)
  redis.call('HDEL', sessions, secret)
  return live and -1 or nil
end

local expires_ms = math.min(now_ms + idle_ms, stored.ends_ms)
stored.refresh = refresh + 1
redis.call('HSET', sessions, secret, cjson.encode(stored))
redis.call('ZADD', expiries, expires_ms, secret)
local last_ms = redis.call('ZRANGE', expiries, -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIREAT', sessions, last_ms)
redis.call('PEXPIREAT', expiries, last_ms)
return refresh + 1
