--@ health remove report held dispatch token
-- join brings a worker into the fleet, or back into it with the sessions that it serves.
-- ARGV  1 worker  2 endpoint  3 flavour  4 flavour facts (JSON)  5 browser  6 browser version
--       7 playwright  8 isolation modes, comma separated  9 labels (JSON)  10 slots
--       11 lifetime, in sessions, 0 = off  12 state: ready|unhealthy|retiring
--       13 heartbeat number  14 sessions it has served  15 '1' when it was joined before
--       16 sessions (JSON array of {session, proxy, attempt, age, name, labels, token, client, nonce, over}): active ones,
--          and before them those that ended untold, of which over is the end (as report reads it)
-- reply {epoch, rev, 'ok', time in ms, sessions of the list that have ended ...}
--       {epoch, rev, 'more'} when the worker before on this endpoint left so many sessions that the
--       call has to be made again
--       {epoch, rev, 'replaced', worker} when a later boot has taken the endpoint
--       {epoch, rev, 'flavours', limit} when the pool has as many flavours as it may
--       {epoch, rev, 'stale', last number} when a heartbeat or the worker's end has overtaken the call
local id, endpoint, number = ARGV[1], ARGV[2], tonumber(ARGV[13])
local serves = cjson.decode(ARGV[16])

local other = call('HGET', P .. 'endpoints', endpoint)
if other and other ~= id and ARGV[15] == '1' and alive(P .. 'workers', other) then
  return { EPOCH, REV, 'replaced', other }
end
local before = worker(id, true)
local last
if before then
  last = tonumber(call('ZSCORE', P .. 'beats', id) or '-1')
  if number < last then return { EPOCH, REV, 'stale', int(last) } end
else
  last = tonumber(call('GET', P .. 'left:' .. id) or '-1')
  if number <= last then return { EPOCH, REV, 'stale', int(last) } end
end
local new_flavour = call('HEXISTS', P .. 'flavours', ARGV[3]) == 0
if new_flavour and call('HLEN', P .. 'flavours') >= MAX_FLAVOURS then
  -- One that no worker has any more makes room.
  local faded = call('ZPOPMIN', P .. 'fading')
  if not faded[1] then return { EPOCH, REV, 'flavours', int(MAX_FLAVOURS) } end
  call('HDEL', P .. 'flavours', faded[1])
  call('DEL', P .. 'fits')
  revise()
end

if other and other ~= id then
  -- One endpoint is one process: its earlier boot is gone, and so are the sessions of that.
  -- One that is assigned but did not start is moved by its proxy, whose dial fails.
  -- In batches, so that no call holds Redis for long; it goes with the last of them, and until
  -- then gets no new ones.
  local O, lost = worker(other), {}
  for _, sid in ipairs(call('SMEMBERS', P .. 'held:' .. other)) do
    local S = session(sid)
    if not S then
      call('SREM', P .. 'held:' .. other, sid)
    elseif S.state == 'active' then
      lost[#lost + 1] = S
    end
    if #lost > MAX_SKIPPED then break end
  end
  local more, beat = #lost > MAX_SKIPPED, call('ZSCORE', P .. 'beats', other) or '0'
  if O and not more then
    remove(O, 'worker.lost', beat, 'replaced')
  elseif O and O.state == 'ready' then
    set_state(O, 'suspect', beat, 'replaced')
    withdraw(other, O.flavour)
  end
  for i = 1, math.min(#lost, MAX_SKIPPED) do finish(lost[i], 'worker_lost') end
  if more then return { EPOCH, REV, 'more' } end
end

local W = before or { id = id, state = ARGV[12], flavour = ARGV[3], slots = ARGV[10], lifetime = ARGV[11],
  endpoint = endpoint, browser = ARGV[5], browser_version = ARGV[6], playwright = ARGV[7], till = 0 }
if new_flavour then
  call('HSET', P .. 'flavours', W.flavour, ARGV[4])
  call('DEL', P .. 'fits')
end
call('SADD', P .. 'members:' .. W.flavour, id)
call('ZREM', P .. 'fading', W.flavour)
call('ZREM', P .. 'recycling', W.flavour .. '|' .. endpoint)
call('HSET', P .. 'endpoints', endpoint, id)
call('ZADD', P .. 'workers', NOW + LEASE, id)
call('ZADD', P .. 'beats', number, id)
if not before then
  draw(W, 'id', id, 'joined_at', TIME, 'flavour', W.flavour, 'slots', W.slots, 'endpoint', endpoint, 'browser', W.browser,
    'browser_version', W.browser_version, 'playwright', W.playwright, 'labels', ARGV[9], 'isolation', ARGV[8])
  if W.state == 'retiring' then call('ZADD', P .. 'retiring', TIME, id) end
  changed(id)
  worker_event('worker.joined', W, ARGV[13], { 'endpoint', endpoint, 'flavour', W.flavour, 'slots', W.slots,
    'lifetime', W.lifetime, 'labels', ARGV[9], 'isolation', ARGV[8], 'state', (W.state ~= 'ready') and W.state or '' })
elseif number > last then
  set_state(W, ARGV[12], ARGV[13], '')
end

-- take makes a session active that this worker serves and the log does not know as such.
local function take(S, A)
  local began = int(NOW - A.age)
  if not S then
    S = blank(A.session)
    S.proxy, S.browser, S.name, S.labels, S.token, S.client = A.proxy, W.browser, A.name, A.labels, A.token, A.client
    S.queued_at, S.assigned_at = began, began
    call('ZREM', P .. 'ended', S.id)
  elseif S.state == 'queued' then
    ticket(S)
    dequeue(S.id, S.class)
  end
  if S.assigned_at == '' then S.assigned_at = began end
  S.state, S.worker, S.attempt, S.started_at, S.rest = 'active', id, int(A.attempt), began, A.nonce .. '\n' .. ARGV[13]
  S.browser_version, S.playwright = W.browser_version, W.playwright
  record(S)
  call('SADD', P .. 'held:' .. id, S.id)
  call('SADD', P .. 'owned:' .. S.proxy, S.id)
  charge(S, '0')
  meet(S.proxy)
  session_event('session.started', S, 'happened', began)
end

-- What the log has ended stays ended. Else the worker, which has the connection, knows better
-- than a Redis that lost its data or the last of it.
local ended, listed, freed = {}, {}, {}
for _, A in ipairs(serves) do
  local S = session(A.session)
  listed[A.session] = true
  if not S then
    take(nil, A)
  elseif S.state == 'active' and S.worker == id and S.attempt == int(A.attempt) then
    -- Redis knows.
  elseif S.state == 'queued' and A.attempt > tonumber(S.attempt) then
    take(S, A)
  elseif S.state == 'assigned' and (A.attempt > tonumber(S.attempt) or S.attempt == int(A.attempt)) then
    if S.worker == id then
      call('ZREM', P .. 'leases', S.id)
    else
      freed[S.worker] = true
      release(S)
    end
    take(S, A)
  else
    ended[#ended + 1] = A.session
  end
  -- Before the next one is taken, which may have had its slot.
  if A.over then report('worker', id, A.over) end
end

local assigned = 0
for _, S in ipairs(holders(id)) do
  if S.state == 'assigned' then
    assigned = assigned + 1
  elseif S.state == 'active' and not listed[S.id] and served_since(S) < number then
    finish(S, 'worker_closed')
  end
end
-- What counts against the lifetime is what started and what may still start.
local served = ARGV[14] + assigned
if served > tonumber(call('GET', P .. 'served:' .. id) or '-1') then call('SET', P .. 'served:' .. id, int(served)) end
dispatch(W)
give(freed)
return { EPOCH, REV, 'ok', TIME, unpack(ended) }
