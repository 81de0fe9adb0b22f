-- Purpose: end all sessions of a user.
-- Guarantee: at one instant none exists any more.
-- KEYS[1] sessions  HASH of the user's sessions: secret, JSON of device, created_ms, ends_ms
-- KEYS[2] expiries  ZSET of the same secrets, scored by the time each expires
-- Returns: how many were live
-- Complexity: O(log n); the memory is freed in the background.
local sessions = KEYS[1]
local expiries = KEYS[2]

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local live = redis.call('ZCOUNT', expiries, '(' .. string.format('%d', now_ms), '+inf')
redis.call('UNLINK', sessions, expiries)
return live
