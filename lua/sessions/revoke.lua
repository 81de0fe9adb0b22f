-- Purpose: end one session.
-- Guarantee: afterwards neither the session nor its index entry exists.
-- KEYS[1] session  HASH of the session
-- KEYS[2] sessions  ZSET of the user's sessions: secret, scored by the time it expires
-- ARGV[1] secret  the session's name in the index
-- Returns: 1 when it was live, 0 when not
-- Complexity: O(log n) for n sessions of the user.
local session = KEYS[1]
local sessions = KEYS[2]
local secret = ARGV[1]

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local score = redis.call('ZSCORE', sessions, secret)
redis.call('ZREM', sessions, secret)
redis.call('UNLINK', session)
return (score and tonumber(score) > now_ms) and 1 or 0
