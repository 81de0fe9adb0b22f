-- Purpose: show the live sessions of a user.
-- Guarantee: exactly those that are live at one instant by the server's clock; writes nothing.
-- KEYS[1] sessions  HASH of the user's sessions: secret, JSON of device, created_ms, ends_ms; each field expires by itself
-- Returns: {{secret, expires_ms, json}, …}
-- Complexity: O(n) for n sessions of the user, bounded by max_sessions.
local sessions = KEYS[1]

local shown = {}
for i, secret in ipairs(redis.call('HKEYS', sessions)) do
  local expires_ms = redis.call('HPEXPIRETIME', sessions, 'FIELDS', 1, secret)[1]
  shown[i] = {secret, tostring(expires_ms), redis.call('HGET', sessions, secret)}
end
return shown
