-- Purpose: read a live session and move its idle expiry on.
-- Guarantee: a session that was revoked or ran out stays so; no expiry is ever later than the absolute one.
-- KEYS[1] sessions  HASH of the user's sessions: secret, JSON of device, created_ms, ends_ms; each field expires by itself
-- ARGV[1] secret  the session's name in the index
-- ARGV[2] idle_ms  how long an unused session lives
-- Returns: {json, expires_ms}, or nil when the session is not live
-- Complexity: O(1).
local sessions = KEYS[1]
local secret = ARGV[1]
local idle_ms = tonumber(ARGV[2])

if not (idle_ms and idle_ms > 0) then
  return redis.error_reply('ERR idle_ms must be a positive integer')
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local json = redis.call('HGET', sessions, secret)
if not json then
  return nil
end
local expires_ms = math.min(now_ms + idle_ms, cjson.decode(json).ends_ms)
redis.call('HPEXPIREAT', sessions, expires_ms, 'FIELDS', 1, secret)
return {json, expires_ms}
