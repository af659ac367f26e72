--@ base fits sessions dispatch remove
-- join brings a worker into the fleet, or back into it with the sessions that it serves.
-- KEYS  schema epoch clock rev events workers beats served endpoints flavours fits fading recycling changed worker held members
-- ARGV  1 worker  2 endpoint  3 flavour  4 flavour facts (JSON)  5 browser  6 browser version
--       7 playwright  8 isolation modes, comma separated  9 labels (JSON)  10 slots
--       11 lifetime, in sessions, 0 = off  12 state: ready|unhealthy|retiring
--       13 heartbeat number  14 sessions it has served  15 '1' when it was joined before
--       16 active sessions (JSON array of {session, proxy, attempt, age, name, labels, token, client, nonce})
-- reply {epoch, rev, 'ok', sessions of the list that have ended ...}
--       {epoch, rev, 'replaced', worker} when a later boot has taken the endpoint
--       {epoch, rev, 'flavours', limit} when the pool has as many flavours as it may
local id, endpoint, number = ARGV[1], ARGV[2], ARGV[13]

local other = call('HGET', P .. 'endpoints', endpoint)
if other and other ~= id and ARGV[15] == '1' and alive(P .. 'workers', other) then
  return { EPOCH, REV, 'replaced', other }
end
if call('HEXISTS', P .. 'flavours', ARGV[3]) == 0 and call('HLEN', P .. 'flavours') >= MAX_FLAVOURS then
  return { EPOCH, REV, 'flavours', tostring(MAX_FLAVOURS) }
end

local freed = {}
if other and other ~= id then
  -- One endpoint is one process: its earlier boot is gone, and so are the sessions of that.
  -- One that is assigned but did not start is moved by its proxy, whose dial fails.
  local O = worker(other)
  if O then remove(O, 'worker.lost', call('ZSCORE', P .. 'beats', other) or '0', 'replaced') end
  for _, sid in ipairs(call('SMEMBERS', P .. 'held:' .. other)) do
    local S = session(sid)
    if S and S.state == 'active' then finish(S, 'worker_lost') end
  end
end

local W = { id = id, state = ARGV[12], flavour = ARGV[3], slots = ARGV[10], lifetime = ARGV[11], endpoint = endpoint,
  browser = ARGV[5], browser_version = ARGV[6], playwright = ARGV[7], labels = ARGV[9], isolation = ARGV[8] }
local before = worker(id)

if call('HEXISTS', P .. 'flavours', W.flavour) == 0 then
  call('HSET', P .. 'flavours', W.flavour, ARGV[4])
  call('DEL', P .. 'fits')
end
call('SADD', P .. 'members:' .. W.flavour, id)
call('ZREM', P .. 'fading', W.flavour)
call('ZREM', P .. 'recycling', endpoint)
call('HSET', P .. 'endpoints', endpoint, id)
call('ZADD', P .. 'workers', int(NOW + LEASE), id)
call('ZADD', P .. 'beats', number, id)
if not before then
  call('ZADD', P .. 'served', ARGV[14], id)
  call('HSET', P .. 'worker:' .. id, 'id', id, 'joined_at', int(NOW), 'state', W.state, 'flavour', W.flavour,
    'slots', W.slots, 'lifetime', W.lifetime, 'endpoint', endpoint, 'browser', W.browser,
    'browser_version', W.browser_version, 'playwright', W.playwright, 'labels', W.labels, 'isolation', W.isolation)
  if W.state == 'retiring' then call('ZADD', P .. 'retiring', int(NOW), id) end
  changed(id)
  worker_event('worker.joined', W, number, nil)
elseif before.state ~= 'retiring' then
  W = before
  set_state(W, ARGV[12], number, nil)
else
  W = before
end

-- The sessions that it serves: those that Redis lost are taken up again.
local ended, listed = {}, {}
for _, A in ipairs(cjson.decode(ARGV[16])) do
  local S = session(A.session)
  local attempt = int(A.attempt)
  listed[A.session] = true
  if S and (S.state == 'active' or S.state == 'assigned') and S.worker == id and S.attempt == attempt then
    if S.state == 'assigned' then
      call('ZREM', P .. 'leases', S.id)
      call('HSET', P .. 'session:' .. S.id, 'state', 'active', 'started_at', int(NOW - A.age), 'nonce', A.nonce,
        'beat', number)
      S.state = 'active'
      session_event('session.started', S, { 'happened', int(NOW - A.age) })
    end
  elseif S then
    ended[#ended + 1] = A.session
  else
    local began = int(NOW - A.age)
    S = { id = A.session, state = 'active', worker = id, proxy = A.proxy, attempt = attempt, browser = W.browser,
      browser_version = W.browser_version, playwright = W.playwright, name = A.name, labels = A.labels,
      token = A.token, client = A.client }
    call('HSET', P .. 'session:' .. S.id, 'state', 'active', 'worker', id, 'proxy', A.proxy, 'attempt', attempt,
      'seq', '0', 'class', '', 'demand', '', 'browser', S.browser, 'browser_version', S.browser_version,
      'playwright', S.playwright, 'name', A.name, 'labels', A.labels, 'token', A.token, 'client', A.client,
      'queued_at', began, 'assigned_at', began, 'started_at', began, 'beat', number, 'nonce', A.nonce)
    call('SADD', P .. 'held:' .. id, S.id)
    call('SADD', P .. 'owned:' .. A.proxy, S.id)
    call('ZADD', P .. 'proxies', 'NX', int(NOW + LEASE), A.proxy)
    session_event('session.started', S, { 'happened', began })
  end
end
for _, sid in ipairs(call('SMEMBERS', P .. 'held:' .. id)) do
  local S = session(sid)
  if S and S.state == 'active' and not listed[sid] and tonumber(S.beat) < tonumber(number) then
    finish(S, 'worker_closed')
  end
end
dispatch(W)
return { EPOCH, REV, 'ok', unpack(ended) }
