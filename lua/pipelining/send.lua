-- Purpose: send a message: recognise a retry, number, store, count for the notifier.
-- Guarantee: all or nothing on the node; a retry within the time to live of `sent` gets the first number and
--   changes nothing; numbers are 1, 2, 3, … without a hole.
-- KEYS[1] seq  STRING: the last number
-- KEYS[2] log  STREAM: entry N-0 is message N
-- KEYS[3] sent  STRING: the number that this sender's message id got
-- KEYS[4] unread  STRING: how many messages wait for the notifier
-- ARGV[1] from  who sends
-- ARGV[2] cid  the sender's own name for the message
-- ARGV[3] body  the text
-- ARGV[4] sent_ttl_ms  how long a retry is recognised
-- ARGV[5] log_max  about how many messages stay
-- Returns: {number, 1 for a retry or 0}
-- Complexity: O(1), and O(1) for each old message that is trimmed.
local seq = KEYS[1]
local log = KEYS[2]
local sent = KEYS[3]
local unread = KEYS[4]
local from = ARGV[1]
local cid = ARGV[2]
local body = ARGV[3]
local sent_ttl_ms = tonumber(ARGV[4])
local log_max = tonumber(ARGV[5])

-- Before anything is written: an error further down would leave half of it.
if not (sent_ttl_ms and sent_ttl_ms > 0 and log_max and log_max > 0) then
  return redis.error_reply('ERR sent_ttl_ms and log_max must be positive integers')
end

local before = redis.call('GET', sent)
if before then
  return {tonumber(before), 1}
end
local n = redis.call('INCR', seq)
redis.call('XADD', log, 'MAXLEN', '~', log_max, string.format('%d-0', n), 'from', from, 'cid', cid, 'body', body)
redis.call('SET', sent, n, 'PX', sent_ttl_ms)
redis.call('INCR', unread)
return {n, 0}
