-- Purpose: give a consumer of a group what others left idle, and then what nobody has had yet.
-- Guarantee: an entry has one holder at a time; one that was delivered max_deliveries times goes to the dead letters instead.
-- KEYS[1] log  STREAM: one entry an event
-- KEYS[2] dead  STREAM: what the group gave up, with the id that it had
-- ARGV[1] group  the group
-- ARGV[2] consumer  who asks
-- ARGV[3] count  at most so many
-- ARGV[4] idle_ms  a holder that was silent for so long is dead
-- ARGV[5] max_deliveries  so many attempts
-- ARGV[6] dead_max  the most dead letters kept
-- Returns: id, deliveries, actor, action, text of each, one after the other
-- Complexity: O(p + n) for p pending entries and n returned ones.
local log = KEYS[1]
local dead = KEYS[2]
local group = ARGV[1]
local consumer = ARGV[2]
local count = tonumber(ARGV[3])
local idle_ms = tonumber(ARGV[4])
local max_deliveries = tonumber(ARGV[5])
local dead_max = tonumber(ARGV[6])

local out, taken = {}, 0
local function hand(id, deliveries, fields)
  taken = taken + 1
  for _, value in ipairs({id, tostring(deliveries), fields[2], fields[4], fields[6]}) do
    out[#out + 1] = value
  end
end

-- XAUTOCLAIM would find and claim them in one command, but does not say how often each was delivered.
for _, row in ipairs(redis.call('XPENDING', log, group, 'IDLE', idle_ms, '-', '+', count)) do
  local id, deliveries = row[1], row[4]
  if deliveries >= max_deliveries then
    local found = redis.call('XRANGE', log, id, id)
    if found[1] then
      redis.call('XADD', dead, 'MAXLEN', dead_max, '*', 'id', id, 'deliveries', deliveries, unpack(found[1][2]))
    end
    redis.call('XACK', log, group, id)
  else
    -- An erased entry is not returned, and leaves the pending list.
    local claimed = redis.call('XCLAIM', log, group, consumer, idle_ms, id)
    if claimed[1] then
      hand(id, deliveries + 1, claimed[1][2])
    end
  end
end

if taken < count then
  local new = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count - taken, 'STREAMS', log, '>')
  for _, entry in ipairs(new and new[1][2] or {}) do
    hand(entry[1], 1, entry[2])
  end
end
return out
