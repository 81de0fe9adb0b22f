-- Purpose: add a payload to the stream of a room, numbered.
-- Guarantee: numbers grow by one, so that a reader sees by them that entries are missing; the stream is bounded.
-- KEYS[1] stream  STREAM of the newest payloads: n, p
-- KEYS[2] count  STRING with the number of the newest one
-- ARGV[1] payload  what to add
-- ARGV[2] keep  how many entries stay
-- ARGV[3] ttl_ms  how long a room that nothing happens in is kept
-- Returns: the number
-- Complexity: O(1) and O(1) for each entry that is trimmed.
local stream = KEYS[1]
local count = KEYS[2]
local payload = ARGV[1]
local keep = tonumber(ARGV[2])
local ttl_ms = tonumber(ARGV[3])

if not (keep and keep > 0 and ttl_ms and ttl_ms > 0) then
  return redis.error_reply('ERR keep and ttl_ms must be positive integers')
end

local number = redis.call('INCR', count)
-- Exactly `keep`: with `~` whole nodes of 100 entries stay longer.
redis.call('XADD', stream, 'MAXLEN', keep, '*', 'n', number, 'p', payload)
redis.call('PEXPIRE', stream, ttl_ms)
redis.call('PEXPIRE', count, ttl_ms)
return number
