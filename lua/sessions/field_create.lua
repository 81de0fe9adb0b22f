-- Purpose: start a login session as a field that expires.
-- Guarantee: the session and its expiry appear together; beyond the cap the one that would end first goes.
-- KEYS[1] sessions  HASH of the user's sessions: secret, JSON of device, created_ms, ends_ms; each field expires by itself
-- ARGV[1] secret  the session's name in the index
-- ARGV[2] device  what the user logged in with
-- ARGV[3] idle_ms  how long an unused session lives
-- ARGV[4] absolute_ms  how long any session lives
-- ARGV[5] max_sessions  the most live sessions; beyond it the ones that would end first go
-- Returns: {created_ms, expires_ms}
-- Complexity: O(n) for n sessions of the user, bounded by max_sessions.
local sessions = KEYS[1]
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

local secrets = redis.call('HKEYS', sessions)
local over = #secrets + 1 - max_sessions
if over > 0 then
  local expiries = redis.call('HPEXPIRETIME', sessions, 'FIELDS', #secrets, unpack(secrets))
  local order = {}
  for i = 1, #secrets do
    order[i] = i
  end
  table.sort(order, function(a, b) return expiries[a] < expiries[b] end)
  for i = 1, over do
    redis.call('HDEL', sessions, secrets[order[i]])
  end
end

redis.call('HSET', sessions, secret, cjson.encode({device = device, created_ms = now_ms, ends_ms = ends_ms}))
redis.call('HPEXPIREAT', sessions, expires_ms, 'FIELDS', 1, secret)
return {now_ms, expires_ms}
