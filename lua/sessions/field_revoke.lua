-- Purpose: end one session.
-- Guarantee: afterwards it does not exist.
-- KEYS[1] sessions  HASH of the user's sessions: secret, JSON of device, created_ms, ends_ms; each field expires by itself
-- ARGV[1] secret  the session's name in the index
-- Returns: 1 when it was live, 0 when not
-- Complexity: O(1).
local sessions = KEYS[1]
local secret = ARGV[1]

local live = redis.call('HEXISTS', sessions, secret)
redis.call('HDEL', sessions, secret)
return live
