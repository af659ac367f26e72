--@ worker
-- choose returns a least-loaded worker with capacity among the flavours of a list that fits
-- made, or nil.
local function choose(list)
  while true do
    local best, load, from
    for flavour in string.gmatch(list, '[^,]+') do
      local head = call('ZRANGE', P .. 'free:' .. flavour, 0, 0, 'WITHSCORES')
      if head[1] and (not load or tonumber(head[2]) < load) then
        best, load, from = head[1], tonumber(head[2]), flavour
      end
    end
    if not best then return nil end
    local W = worker(best)
    -- A worker whose lease ran out comes back with its next heartbeat.
    if W and alive(P .. 'workers', best) then return W end
    call('ZREM', P .. 'free:' .. from, best)
  end
end
