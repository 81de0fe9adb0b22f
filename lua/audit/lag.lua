-- Purpose: how far a group is behind.
-- Guarantee: exact, also where XINFO says nil or a wrong number because entries were erased.
-- KEYS[1] log  STREAM: one entry an event
-- ARGV[1] group  the group
-- Returns: {undelivered, pending}
-- Complexity: O(g) for g groups; O(g + n) for n undelivered entries once an entry was erased.
local log = KEYS[1]
local group = ARGV[1]

local function table_of(flat)
  local by = {}
  for i = 1, #flat, 2 do
    by[flat[i]] = flat[i + 1]
  end
  return by
end

-- Redis counts how many entries a group has read, and steps over erased ones without counting them: after an XDEL its lag is
-- nil at best, and at worst a number that is too high.
local erased = redis.call('XINFO', 'STREAM', log)
erased = table_of(erased)['max-deleted-entry-id'] ~= '0-0'

for _, info in ipairs(redis.call('XINFO', 'GROUPS', log)) do
  local by = table_of(info)
  if by.name == group then
    local undelivered = by.lag
    if erased or not undelivered then
      undelivered = 0
      local from = '(' .. by['last-delivered-id']
      local part
      repeat
        part = redis.call('XRANGE', log, from, '+', 'COUNT', 500)
        undelivered = undelivered + #part
        from = part[1] and '(' .. part[#part][1]
      until #part < 500
    end
    return {undelivered, by.pending}
  end
end
return redis.error_reply('NOGROUP there is no group ' .. group)
