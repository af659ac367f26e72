-- Part of every script: time, epoch, version fence, events, revisions.
-- The constants P, POOL, SCHEMA, HEARTBEAT, LEASE, START_LEASE, ... stand in front of it.
-- KEYS are the pool's fixed keys ("fixed" in the heads of the scripts) and those of what the
-- call is about; what a script finds on its way it names itself, in the same slot.
local call = redis.call

-- Numbers of Redis TIME must never pass through tostring, which loses digits.
local function int(n) return string.format('%.0f', n) end

local function add(list, name, value)
  if value and value ~= '' then
    list[#list + 1] = name
    list[#list + 1] = value
  end
end

local seen = call('MGET', P .. 'schema', P .. 'epoch', P .. 'clock', P .. 'rev')

-- Two releases whose scripts differ must not write into one pool.
if seen[1] and seen[1] ~= SCHEMA then
  return redis.error_reply('PWDISTSCHEMA ' .. seen[1])
end

local tm = call('TIME')
local NOW = tm[1] * 1000 + math.floor(tm[2] / 1000)
local EPOCH, CLOCK, REV = seen[2], tonumber(seen[3] or '0'), seen[4] or '0'

local function emit(kind, id, fields)
  call('XADD', P .. 'events', 'MAXLEN', '~', EVENTS_MAX, '*', 'v', '1', 'type', kind,
    'id', id, 'at', int(NOW), 'pool', POOL, unpack(fields))
end

local function shift(key, lease)
  local members = call('ZRANGE', key, 0, -1)
  local till = int(NOW + lease)
  for from = 1, #members, 500 do
    local args = {}
    for i = from, math.min(from + 499, #members) do
      args[#args + 1] = till
      args[#args + 1] = members[i]
    end
    call('ZADD', key, 'XX', unpack(args))
  end
end

if not EPOCH then
  -- An empty Redis: a new pool, or one that lost its data. Everybody sees the
  -- new epoch in the next reply and tells again what it knows.
  EPOCH = int(NOW) .. '-' .. tm[2]
  call('MSET', P .. 'schema', SCHEMA, P .. 'epoch', EPOCH, P .. 'clock', int(NOW))
  emit('pool.reset', POOL .. ':pool.reset:' .. EPOCH, { 'epoch', EPOCH })
else
  local gap = NOW - CLOCK
  if gap < 0 and gap > -HEARTBEAT then
    -- A clock that was set back a little must not make time run twice.
    NOW = CLOCK
  elseif gap < 0 or gap > 2 * HEARTBEAT then
    -- Nobody could write for a while, so nobody could renew a lease or come back:
    -- no deadline is judged by this gap.
    shift(P .. 'workers', LEASE)
    shift(P .. 'proxies', LEASE)
    shift(P .. 'leases', START_LEASE)
    shift(P .. 'fading', FADE)
    shift(P .. 'recycling', FADE)
    call('SET', P .. 'clock', int(NOW))
    emit('pool.resumed', POOL .. ':pool.resumed:' .. int(NOW), { 'epoch', EPOCH, 'gap_ms', int(gap) })
  elseif gap > 0 then
    call('SET', P .. 'clock', int(NOW))
  end
end

-- While the data set is young, workers may still be on their way back to it.
local YOUNG = math.abs(NOW - string.match(EPOCH, '^%d+')) < LEASE

local function changed(id)
  REV = int(call('INCR', P .. 'rev'))
  call('ZADD', P .. 'changed', REV, id)
end

local function alive(key, id)
  local till = call('ZSCORE', key, id)
  return till and tonumber(till) > NOW
end
