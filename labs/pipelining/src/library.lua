#!lua name=chatlab_pipelining
-- Purpose: the same as lua/pipelining/send.lua, as a function: it stays on the server under a name, is copied to the replicas,
--   and is there again after a restart with persistence.
-- KEYS: seq, log, sent, unread. ARGV: from, cid, body, sent_ttl_ms, log_max. Returns: {number, 1 for a retry or 0}. O(1).
local function send(keys, args)
  local seq, log, sent, unread = keys[1], keys[2], keys[3], keys[4]
  local from, cid, body = args[1], args[2], args[3]
  local sent_ttl_ms, log_max = tonumber(args[4]), tonumber(args[5])
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
end

redis.register_function('chatlab_pipelining_send', send)
