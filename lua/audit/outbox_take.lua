-- Purpose: give a consumer of a group what others left idle, and then what nobody has had yet.
-- Guarantee: an entry has one holder at a time; a group that is not there yet gets everything that the stream holds.
-- KEYS[1] events  STREAM: the outbox of a partition
-- ARGV[1] group  the group
-- ARGV[2] consumer  who asks
-- ARGV[3] count  at most so many
-- ARGV[4] idle_ms  a holder that was silent for so long is dead
-- Returns: id, deliveries, payload of each, one after the other
-- Complexity: O(p + n) for p pending entries and n returned ones.
local events = KEYS[1]
local group = ARGV[1]
local consumer = ARGV[2]
local count = tonumber(ARGV[3])
local idle_ms = tonumber(ARGV[4])

if redis.call('EXISTS', events) == 0 then
  return {}
end
local idle = redis.pcall('XPENDING', events, group, 'IDLE', idle_ms, '-', '+', count)
if idle.err then
  if not string.find(idle.err, 'NOGROUP', 1, true) then
    return idle
  end
  redis.call('XGROUP', 'CREATE', events, group, '0')
  idle = {}
end

local out, taken = {}, 0
local function hand(id, deliveries, fields)
  taken = taken + 1
  out[#out + 1] = id
  out[#out + 1] = tostring(deliveries)
  out[#out + 1] = fields[2]
end

for _, row in ipairs(idle) do
  -- An erased entry is not returned, and leaves the pending list.
  local claimed = redis.call('XCLAIM', events, group, consumer, idle_ms, row[1])
  if claimed[1] then
    hand(row[1], row[4] + 1, claimed[1][2])
  end
end

if taken < count then
  local new = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count - taken, 'STREAMS', events, '>')
  for _, entry in ipairs(new and new[1][2] or {}) do
    hand(entry[1], 1, entry[2])
  end
end
return out
