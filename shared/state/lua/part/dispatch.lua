-- dispatch gives the capacity of a worker to the oldest eligible tickets over all classes
-- that its flavour fits. Whatever makes capacity appear calls it, so that no ticket sleeps
-- beside a free slot.
local function dispatch(W)
  local capacity = offer(W)
  if capacity <= 0 then return end
  local classes = call('HGETALL', P .. 'classes')
  if #classes == 0 then return end
  local mine = {}
  for i = 1, #classes, 2 do
    if string.find(fits(classes[i], classes[i + 1]), ',' .. W.flavour .. ',', 1, true) then
      mine[#mine + 1] = classes[i]
    end
  end
  while capacity > 0 do
    local oldest, seq, class
    for _, c in ipairs(mine) do
      local head = call('ZRANGE', P .. 'queue:' .. c, 0, 0, 'WITHSCORES')
      if head[1] and (not seq or tonumber(head[2]) < seq) then
        oldest, seq, class = head[1], tonumber(head[2]), c
      end
    end
    if not oldest then return end
    local S = session(oldest)
    if not S or S.state ~= 'queued' then
      dequeue({ id = oldest, class = class })
    elseif not alive(P .. 'proxies', S.proxy) then
      -- Nobody would fetch the grant, and the slot would idle for a whole start lease.
      finish(S, 'proxy_lost')
    else
      dequeue(S)
      capacity = place(S, W)
      call('XADD', P .. 'inbox:' .. S.proxy, '*', 'kind', 'grant', 'epoch', EPOCH, 'session', S.id,
        'worker', W.id, 'endpoint', W.endpoint, 'attempt', S.attempt, 'browser_version', W.browser_version,
        'playwright', W.playwright)
    end
  end
end

-- give offers what ended sessions left free; workers is a set of ids.
local function give(workers)
  for id in pairs(workers) do
    local W = worker(id)
    if W then dispatch(W) end
  end
end

-- choose returns a least-loaded worker with capacity among the flavours of a class, or nil.
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

local function enqueue(S)
  S.state = 'queued'
  call('HSET', P .. 'session:' .. S.id, 'state', 'queued', 'worker', '')
  call('HSET', P .. 'classes', S.class, S.demand)
  call('ZADD', P .. 'queue:' .. S.class, S.seq, S.id)
  call('ZADD', P .. 'waiting', S.seq, S.id)
  session_event('session.queued', S, { 'class', S.class, 'seq', S.seq })
end
