-- Records of workers and sessions, and what happens to a slot.
local WORKER = { 'state', 'flavour', 'slots', 'lifetime', 'endpoint', 'browser', 'browser_version', 'playwright', 'labels',
  'isolation' }
local SESSION = { 'state', 'worker', 'proxy', 'attempt', 'seq', 'class', 'demand', 'browser', 'browser_version',
  'playwright', 'name', 'labels', 'token', 'client', 'queued_at', 'assigned_at', 'started_at', 'beat', 'nonce', 'reason' }

local function read(key, names)
  local values = call('HMGET', key, unpack(names))
  if not values[1] then return nil end
  local record = {}
  for i, name in ipairs(names) do record[name] = values[i] or '' end
  return record
end

local function worker(id)
  if id == '' then return nil end
  local W = read(P .. 'worker:' .. id, WORKER)
  if W then W.id = id end
  return W
end

local function session(id)
  local S = read(P .. 'session:' .. id, SESSION)
  if S then S.id = id end
  return S
end

local function worker_event(kind, W, number, reason)
  local f = { 'worker', W.id }
  add(f, 'browser', W.browser)
  add(f, 'browser_version', W.browser_version)
  add(f, 'playwright', W.playwright)
  add(f, 'reason', reason)
  add(f, 'number', number)
  if kind == 'worker.joined' then
    add(f, 'endpoint', W.endpoint)
    add(f, 'flavour', W.flavour)
    add(f, 'slots', W.slots)
    add(f, 'lifetime', W.lifetime)
    add(f, 'labels', W.labels)
    add(f, 'isolation', W.isolation)
    if W.state ~= 'ready' then add(f, 'state', W.state) end
  end
  emit(kind, W.id .. ':' .. kind .. ':' .. number, f)
end

local function session_event(kind, S, more)
  local f = { 'session', S.id, 'proxy', S.proxy, 'attempt', S.attempt }
  add(f, 'worker', S.worker)
  add(f, 'browser', S.browser)
  add(f, 'browser_version', S.browser_version)
  add(f, 'playwright', S.playwright)
  add(f, 'name', S.name)
  add(f, 'labels', S.labels)
  add(f, 'token', S.token)
  add(f, 'client', S.client)
  for _, v in ipairs(more) do f[#f + 1] = v end
  emit(kind, S.id .. ':' .. kind .. ':' .. S.attempt, f)
end

-- offer puts a worker where acquire looks for it, or takes it away from there, and returns
-- its capacity.
local function offer(W)
  local capacity, held = 0, 0
  if W.state == 'ready' then
    held = call('SCARD', P .. 'held:' .. W.id)
    capacity = W.slots - held
    local lifetime = tonumber(W.lifetime)
    if lifetime > 0 then
      capacity = math.min(capacity, lifetime - tonumber(call('ZSCORE', P .. 'served', W.id) or '0'))
    end
  end
  if capacity > 0 then
    call('ZADD', P .. 'free:' .. W.flavour, held, W.id)
  else
    call('ZREM', P .. 'free:' .. W.flavour, W.id)
  end
  return capacity
end

local function set_state(W, state, number, reason)
  if W.state == state or W.state == 'retiring' then return end
  W.state = state
  if state == 'retiring' then call('ZADD', P .. 'retiring', int(NOW), W.id) end
  call('HSET', P .. 'worker:' .. W.id, 'state', state)
  changed(W.id)
  worker_event('worker.' .. state, W, number, reason)
end

-- place gives a slot of W to S. The caller has made sure that W has capacity.
local function place(S, W)
  S.state, S.worker = 'assigned', W.id
  S.attempt, S.assigned_at = int(S.attempt + 1), int(NOW)
  S.browser, S.browser_version, S.playwright = W.browser, W.browser_version, W.playwright
  call('SADD', P .. 'held:' .. W.id, S.id)
  call('ZINCRBY', P .. 'served', 1, W.id)
  call('ZADD', P .. 'leases', int(NOW + START_LEASE), S.id)
  call('HSET', P .. 'session:' .. S.id, 'state', 'assigned', 'worker', W.id, 'attempt', S.attempt,
    'assigned_at', S.assigned_at, 'browser_version', S.browser_version, 'playwright', S.playwright)
  session_event('session.assigned', S, { 'queued_ms', int(math.max(0, NOW - S.queued_at)) })
  return offer(W)
end

-- release takes the slot of an assigned session that did not start away from it.
local function release(S)
  call('SREM', P .. 'held:' .. S.worker, S.id)
  call('ZREM', P .. 'leases', S.id)
  if call('ZSCORE', P .. 'served', S.worker) then call('ZINCRBY', P .. 'served', -1, S.worker) end
end

-- tell puts a notice into the inbox of a session's proxy. An inbox that nobody reads any more
-- must not stay, and this may be what makes it.
local function tell(S, kind, ...)
  local inbox = P .. 'inbox:' .. S.proxy
  call('XADD', inbox, '*', 'kind', kind, 'epoch', EPOCH, 'session', S.id, ...)
  call('PEXPIRE', inbox, INBOX_AGE)
end

local function dequeue(S)
  local queue = P .. 'queue:' .. S.class
  call('ZREM', queue, S.id)
  call('ZREM', P .. 'waiting', S.id)
  if call('EXISTS', queue) == 0 then call('HDEL', P .. 'classes', S.class) end
end

-- finish ends a session in whatever state it is. R may hold age (ms since it happened) and
-- what was counted. Giving the freed slot to somebody is the caller's part.
local function finish(S, reason, R)
  R = R or {}
  local was = S.state
  if was == 'queued' then dequeue(S) end
  if was == 'assigned' then release(S) end
  if was == 'active' then call('SREM', P .. 'held:' .. S.worker, S.id) end
  call('SREM', P .. 'owned:' .. S.proxy, S.id)

  local happened = NOW - (tonumber(R.age) or 0)
  local kind = (S.attempt == '0') and 'rejected' or 'ended'
  S.state, S.reason = kind, reason
  local key = P .. 'session:' .. S.id
  call('HSET', key, 'state', kind, 'reason', reason, 'ended_at', int(happened))
  call('PEXPIRE', key, ENDED_AGE)
  local surplus = call('ZCARD', P .. 'ended') + 1 - ENDED_MAX
  if surplus > 0 then
    -- Two at a time, so that a bound that was lowered is reached some day.
    local old = call('ZPOPMIN', P .. 'ended', math.min(surplus, 2))
    for i = 1, #old, 2 do call('DEL', P .. 'session:' .. old[i]) end
  end
  call('ZADD', P .. 'ended', int(NOW), S.id)

  local began = (S.assigned_at ~= '') and tonumber(S.assigned_at) or happened
  local more = { 'reason', reason, 'queued_ms', int(math.max(0, began - S.queued_at)) }
  if kind == 'ended' then
    local started = S.started_at ~= ''
    if started then
      add(more, 'connect_ms', int(math.max(0, S.started_at - began)))
      add(more, 'active_ms', int(math.max(0, happened - S.started_at)))
    end
    add(more, 'started', started and '1' or '0')
    for _, name in ipairs({ 'bytes_up', 'bytes_down', 'messages_up', 'messages_down' }) do
      add(more, name, int(tonumber(R[name]) or 0))
    end
  end
  if happened ~= NOW then add(more, 'happened', int(happened)) end
  session_event('session.' .. kind, S, more)
end

local function over(S) return S.state == 'ended' or S.state == 'rejected' end

-- standing is the reply that tells a proxy where its session is.
local function standing(S)
  if S.state == 'assigned' or S.state == 'active' then
    local endpoint = call('HGET', P .. 'worker:' .. S.worker, 'endpoint') or ''
    return { EPOCH, REV, S.state, S.worker, endpoint, S.attempt, S.browser_version, S.playwright }
  elseif S.state == 'queued' then
    local rank = call('ZRANK', P .. 'queue:' .. S.class, S.id) or 0
    return { EPOCH, REV, 'queued', int(rank + 1), int(call('ZCARD', P .. 'waiting')) }
  end
  return { EPOCH, REV, S.state, S.reason }
end
