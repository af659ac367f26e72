-- dispatch gives the capacity of a worker to the oldest eligible tickets over all classes
-- that its flavour fits. Whatever makes capacity appear calls it, so that no ticket sleeps
-- beside a free slot.
local MAX_SKIPPED = 100

local function dispatch(W)
  local capacity = offer(W)
  if capacity <= 0 then return end
  if not alive(P .. 'workers', W.id) then
    -- It comes back with its next heartbeat.
    call('ZREM', P .. 'free:' .. W.flavour, W.id)
    return
  end
  local classes = call('HGETALL', P .. 'classes')
  local heads = {}
  local function look(class)
    local head = call('ZRANGE', P .. 'queue:' .. class, 0, 0, 'WITHSCORES')
    heads[class] = head[1] and { id = head[1], seq = tonumber(head[2]) }
  end
  for i = 1, #classes, 2 do
    if string.find(fits(classes[i], classes[i + 1]), ',' .. W.flavour .. ',', 1, true) then look(classes[i]) end
  end
  local skipped = 0
  while capacity > 0 do
    local oldest, class
    for c, head in pairs(heads) do
      if not oldest or head.seq < oldest.seq then oldest, class = head, c end
    end
    if not oldest then return end
    local S = session(oldest.id)
    if not S or S.state ~= 'queued' then
      dequeue({ id = oldest.id, class = class })
    elseif not alive(P .. 'proxies', S.proxy) then
      -- Nobody would fetch the grant, and the slot would idle for a whole start lease. Ending
      -- thousands would hold Redis for long; reap is due now and goes on with them.
      if skipped == MAX_SKIPPED then return end
      skipped = skipped + 1
      finish(S, 'proxy_lost')
      tell(S, 'ended', 'reason', 'proxy_lost')
    else
      dequeue(S)
      capacity = place(S, W)
      tell(S, 'grant', 'worker', W.id, 'endpoint', W.endpoint, 'attempt', S.attempt, 'browser_version',
        W.browser_version, 'playwright', W.playwright)
    end
    look(class)
  end
end

-- give offers what ended sessions left free; workers is a set of ids.
local function give(workers)
  for id in pairs(workers) do
    local W = worker(id)
    if W then dispatch(W) end
  end
end

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

-- sweep serves every ticket that a free slot fits: what a dispatch that met too many tickets
-- of dead proxies left undone.
local function sweep()
  local classes = call('HGETALL', P .. 'classes')
  for i = 1, #classes, 2 do
    local W = choose(fits(classes[i], classes[i + 1]))
    while W and call('EXISTS', P .. 'queue:' .. classes[i]) == 1 do
      dispatch(W)
      local other = choose(fits(classes[i], classes[i + 1]))
      if other and other.id == W.id then return end
      W = other
    end
  end
end

local function enqueue(S)
  S.state, S.worker = 'queued', ''
  call('HSET', P .. 'session:' .. S.id, 'state', 'queued', 'worker', '')
  call('HSET', P .. 'classes', S.class, S.demand)
  call('ZADD', P .. 'queue:' .. S.class, S.seq, S.id)
  call('ZADD', P .. 'waiting', S.seq, S.id)
  session_event('session.queued', S, { 'class', S.class, 'seq', S.seq })
end
