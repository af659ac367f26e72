--@ fits place queue finish tell
-- dispatch gives the capacity of a worker to the oldest eligible tickets over all classes
-- that its flavour fits. Whatever makes capacity appear calls it, so that no ticket sleeps
-- beside a free slot. What is left of the capacity is shown to acquire. It returns true when it left
-- W owing.
local function dispatch(W)
  local capacity, held = room(W)
  local classes = (capacity > 0) and call('HGETALL', P .. 'classes') or {}
  if not classes[1] then return show(W, capacity, held) end
  if not serves(W) then
    -- It comes back with its next heartbeat.
    withdraw(W.id, W.flavour)
    return
  end
  local heads = {}
  local function look(class)
    local head = call('ZRANGE', P .. 'queue:' .. class, '0', '0', 'WITHSCORES')
    heads[class] = head[1] and { id = head[1], seq = tonumber(head[2]) }
    if not head[1] then call('HDEL', P .. 'classes', class) end
  end
  for i = 1, #classes, 2 do
    if string.find(fits(classes[i], classes[i + 1]), ',' .. W.flavour .. ',', 1, true) then look(classes[i]) end
  end
  while capacity > 0 do
    local oldest, class
    for c, head in pairs(heads) do
      if not oldest or head.seq < oldest.seq then oldest, class = head, c end
    end
    if not oldest then break end
    local S = session(oldest.id)
    if not S or S.state ~= 'queued' then
      dequeue(oldest.id, class)
    elseif not alive(P .. 'proxies', S.proxy) then
      -- Nobody would fetch the grant, and the slot would idle for a whole start lease. Ending
      -- thousands would hold Redis for long; reap is due now and goes on with them. Until then
      -- nobody may find W who is younger than the tickets behind them.
      if skips == 0 then
        call('SADD', P .. 'owing', W.id)
        withdraw(W.id, W.flavour)
        return true
      end
      skips = skips - 1
      finish(S, 'proxy_lost')
      tell(S, 'ended', 'reason', 'proxy_lost')
    else
      unqueue(oldest.id, class)
      place(S, W)
      capacity, held = capacity - 1, held + 1
      tell(S, 'grant', 'worker', W.id, 'endpoint', W.endpoint, 'attempt', S.attempt, 'browser_version',
        W.browser_version, 'playwright', W.playwright)
    end
    -- Another one may be at the head of the class, or nobody in it.
    if capacity > 0 then
      look(class)
    elseif call('EXISTS', P .. 'queue:' .. class) == 0 then
      call('HDEL', P .. 'classes', class)
    end
  end
  show(W, capacity, held)
end

-- give offers what ended sessions left free; workers is a set of ids.
local function give(workers)
  for id in pairs(workers) do
    local W = worker(id)
    if W then dispatch(W) end
  end
end
