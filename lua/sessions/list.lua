-- Purpose: name the live sessions of a user.
-- Guarantee: exactly those that are live at one instant by the server's clock; writes nothing.
-- KEYS[1] sessions  ZSET of the user's sessions: secret, scored by the time it expires
-- Returns: {secret, expires_ms, secret, expires_ms, …}, soonest end first
-- Complexity: O(log n + m) for n sessions of the user, m of them live; both are bounded by max_sessions.
local sessions = KEYS[1]

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGE', sessions, '(' .. string.format('%d', now_ms), '+inf', 'BYSCORE', 'WITHSCORES')
