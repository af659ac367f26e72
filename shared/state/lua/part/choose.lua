--@ worker
-- first returns the least-loaded worker with capacity among several flavours, and its flavour.
local function first(list)
  local best, flavour, load
  local found, gone, from, size = {}, {}, 0, 4
  while true do
    local some = call('ZRANGE', P .. 'least', int(from), int(from + size - 1), 'WITHSCORES')
    for i = 1, #some, 2 do
      local noted = tonumber(some[i + 1])
      -- Nobody further on has less to do.
      if load and noted >= load then
        some = {}
        break
      end
      if string.find(list, ',' .. some[i] .. ',', 1, true) then
        local head = call('ZRANGE', P .. 'free:' .. some[i], '0', '0', 'WITHSCORES')
        local is = head[1] and tonumber(head[2])
        if not is then
          gone[#gone + 1] = some[i]
        elseif is > noted then
          found[#found + 1] = head[2]
          found[#found + 1] = some[i]
        end
        if is and (not load or is < load) then best, flavour, load = head[1], some[i], is end
      end
    end
    if #some < 2 * size then break end
    from, size = from + size, 2 * size
  end
  if found[1] then call('ZADD', P .. 'least', unpack(found)) end
  -- Redis lost the free workers of these.
  if gone[1] then call('ZREM', P .. 'least', unpack(gone)) end
  return best, flavour
end

-- choose returns a least-loaded worker with capacity among the flavours of a list that fits
-- made, or nil.
local function choose(list)
  local only = string.match(list, '^,([^,]+),$')
  while true do
    local best, flavour
    if only then
      best, flavour = call('ZRANGE', P .. 'free:' .. only, '0', '0')[1], only
    else
      best, flavour = first(list)
    end
    if not best then return nil end
    local W = worker(best)
    -- A worker whose lease ran out comes back with its next heartbeat.
    if W and serves(W) then return W end
    withdraw(best, flavour)
  end
end
