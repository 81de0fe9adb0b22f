-- Purpose: exchange a session's refresh token for the next one.
-- Guarantee: each token is exchanged once; one that was exchanged before ends the session, in the same step.
-- KEYS[1] sessions  HASH of the user's sessions: secret, JSON of device, created_ms, ends_ms, refresh; each field expires by itself
-- ARGV[1] secret  the session's name in the index
-- ARGV[2] token  the number of the token, from 0
-- ARGV[3] idle_ms  how long an unused session lives
-- Returns: the number of the next token; -1 when the session had to end; nil when it is not live
-- Complexity: O(1).
local sessions = KEYS[1]
local secret = ARGV[1]
local token = tonumber(ARGV[2])
local idle_ms = tonumber(ARGV[3])

if not (token and token >= 0 and idle_ms and idle_ms > 0) then
  return redis.error_reply('ERR token must be 0 or more, idle_ms a positive integer')
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local json = redis.call('HGET', sessions, secret)
if not json then
  return nil
end
local stored = cjson.decode(json)
local refresh = stored.refresh or 0
if token ~= refresh then
  redis.call('HDEL', sessions, secret)
  return -1
end

stored.refresh = refresh + 1
-- Writing a field takes its expiry away: it is set again in the same script.
redis.call('HSET', sessions, secret, cjson.encode(stored))
redis.call('HPEXPIREAT', sessions, math.min(now_ms + idle_ms, stored.ends_ms), 'FIELDS', 1, secret)
return refresh + 1
