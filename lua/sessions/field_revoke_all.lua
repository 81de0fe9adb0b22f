-- Purpose: end all sessions of a user.
-- Guarantee: at one instant none exists any more.
-- KEYS[1] sessions  HASH of the user's sessions: secret, JSON of device, created_ms, ends_ms; each field expires by itself
-- Returns: how many were live
-- Complexity: O(n) for n sessions of the user, bounded by max_sessions.
local sessions = KEYS[1]

local live = #redis.call('HKEYS', sessions)
redis.call('UNLINK', sessions)
return live
