-- Purpose: end all sessions of a user.
-- Guarantee: at one instant none is live any more. The sessions' own hashes are no longer sessions without their
--   index; the caller removes them afterwards, and if it dies first they expire by themselves.
-- KEYS[1] sessions  ZSET of the user's sessions: secret, scored by the time it expires
-- Returns: {how many were live, {secret of each}}
-- Complexity: O(log n + n) for n sessions of the user, bounded by max_sessions.
local sessions = KEYS[1]

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local live = redis.call('ZCOUNT', sessions, '(' .. string.format('%d', now_ms), '+inf')
local secrets = redis.call('ZRANGE', sessions, 0, -1)
redis.call('UNLINK', sessions)
return {live, secrets}
