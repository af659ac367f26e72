--@ worker
-- choose returns a least-loaded worker with capacity among the flavours of a list that fits
-- made, or nil.
local function choose(list)
  local only = string.match(list, '^,([^,]+),$')
  while true do
    local flavour = only
    if not flavour then
      for _, next in ipairs(call('ZRANGE', P .. 'least', '0', '-1')) do
        if string.find(list, ',' .. next .. ',', 1, true) then
          flavour = next
          break
        end
      end
    end
    local best = flavour and call('ZRANGE', P .. 'free:' .. flavour, '0', '0')[1]
    if not best then return nil end
    local W = worker(best)
    -- A worker whose lease ran out comes back with its next heartbeat.
    if W and alive(P .. 'workers', best) then return W end
    withdraw(best, flavour)
  end
end
