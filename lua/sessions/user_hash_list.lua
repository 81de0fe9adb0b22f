-- Purpose: show the live sessions of a user.
-- Guarantee: exactly those that are live at one instant by the server's clock; writes nothing.
-- KEYS[1] sessions  HASH of the user's sessions: secret, JSON of device, created_ms, ends_ms
-- KEYS[2] expiries  ZSET of the same secrets, scored by the time each expires
-- Returns: {{secret, expires_ms, json}, …}, soonest end first
-- Complexity: O(log n + m) for n sessions of the user, m of them live; both are bounded by max_sessions.
local sessions = KEYS[1]
local expiries = KEYS[2]

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local live = redis.call('ZRANGE', expiries, '(' .. string.format('%d', now_ms), '+inf', 'BYSCORE', 'WITHSCORES')
local shown = {}
for i = 1, #live, 2 do
  shown[#shown + 1] = {live[i], live[i + 1], redis.call('HGET', sessions, live[i])}
end
return shown
