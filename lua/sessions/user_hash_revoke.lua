-- Purpose: end one session.
-- Guarantee: afterwards neither the session nor its expiry exists.
-- KEYS[1] sessions  HASH of the user's sessions: secret, JSON of device, created_ms, ends_ms
-- KEYS[2] expiries  ZSET of the same secrets, scored by the time each expires
-- ARGV[1] secret  the session's name in the index
-- Returns: 1 when it was live, 0 when not
-- Complexity: O(log n) for n sessions of the user.
local sessions = KEYS[1]
local expiries = KEYS[2]
local secret = ARGV[1]

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local score = redis.call('ZSCORE', expiries, secret)
redis.call('ZREM', expiries, secret)
redis.call('HDEL', sessions, secret)
return (score and tonumber(score) > now_ms) and 1 or 0
