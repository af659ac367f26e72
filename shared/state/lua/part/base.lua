--@
-- Part of every script: time, epoch, version fence, events, leases.
-- The constants P, POOL, SCHEMA, HEARTBEAT, LEASE, START_LEASE, ... stand in front of it.
-- All parts and scripts are one library of functions, which Redis keeps. A variable outside of all
-- functions would go from one call to the next: there are these, and begin sets each of them anew.
-- Scripts declare a single key, which names the slot of the pool: all that they touch are in it.
local call, TIME, NOW, EPOCH, REV, RESUMED
local skips -- how many tickets of dead proxies this call may still end on its way (dispatch)

-- int makes text of a whole number. Numbers of Redis TIME must not pass through tostring, which
-- may lose digits. As an argument of a command a number needs nothing, but Redis writes it with
-- all digits that it may have, which takes several times as long.
local function int(n) return string.format('%d', n) end

-- emit writes an event. Where another is sure to follow (more), that one bounds the stream.
local function emit(kind, id, fields, more)
  if more then
    call('XADD', P .. 'events', '*', 'v', '1', 'type', kind, 'id', id, 'at', TIME, 'pool', POOL, unpack(fields))
  else
    call('XADD', P .. 'events', 'MAXLEN', '~', EVENTS_MAX, '*', 'v', '1', 'type', kind,
      'id', id, 'at', TIME, 'pool', POOL, unpack(fields))
  end
end

-- begin is the start of every call. It returns the error of a call that the pool must not take.
local function begin()
  call, skips = redis.call, MAX_SKIPPED
  local seen = call('MGET', P .. 'schema', P .. 'epoch', P .. 'clock', P .. 'rev', P .. 'resumed')

  -- Two releases whose scripts differ must not write into one pool.
  if seen[1] and seen[1] ~= SCHEMA then
    return redis.error_reply('PWDISTSCHEMA ' .. seen[1])
  end

  -- Now in ms, as text and as a number.
  local tm = call('TIME')
  TIME = tm[1] .. string.sub('00000' .. tm[2], -6, -4)
  NOW = tonumber(TIME)
  EPOCH, REV = seen[2], seen[4] or '0'
  -- When time went on after nobody could write for a while. Before a whole lease has passed since
  -- then, no deadline is judged by the time that it names.
  RESUMED = tonumber(seen[5] or '0')

  if not EPOCH then
    -- An empty Redis: a new pool, or one that lost its data. Everybody sees the
    -- new epoch in the next reply and tells again what it knows.
    EPOCH = TIME .. '-' .. tm[2]
    call('MSET', P .. 'schema', SCHEMA, P .. 'epoch', EPOCH, P .. 'clock', TIME)
    emit('pool.reset', POOL .. ':pool.reset:' .. EPOCH, { 'epoch', EPOCH })
  else
    local clock = tonumber(seen[3] or '0')
    local gap = NOW - clock
    if gap < 0 and gap > -HEARTBEAT then
      -- A clock that was set back a little must not make time run twice.
      NOW, TIME = clock, seen[3]
    elseif gap < 0 or gap > 2 * HEARTBEAT then
      -- Nobody could write for a while, so nobody could renew a lease or come back:
      -- no deadline is judged by this gap. Where the clock was set back, they are too far away besides;
      -- what meet has noted is lost with them, so every proxy is told.
      RESUMED = NOW
      local deadlines = { workers = LEASE, proxies = LEASE + 0.5, leases = START_LEASE, fading = FADE, recycling = FADE }
      for name, lease in pairs((gap < 0) and deadlines or {}) do
        local members = call('ZRANGE', P .. name, 0, -1)
        for from = 1, #members, 500 do
          local args = {}
          for i = from, math.min(from + 499, #members) do
            args[#args + 1] = NOW + lease
            args[#args + 1] = members[i]
          end
          call('ZADD', P .. name, 'XX', unpack(args))
        end
      end
      call('MSET', P .. 'clock', TIME, P .. 'resumed', TIME)
      emit('pool.resumed', POOL .. ':pool.resumed:' .. TIME, { 'epoch', EPOCH, 'gap_ms', gap })
    elseif gap > HEARTBEAT / 50 then
      -- Fine enough to tell a gap, and far less than once in every call of a busy pool.
      call('SET', P .. 'clock', TIME)
    end
  end
end

-- judged tells whether deadlines that are given for so long are judged by the time they name.
local function judged(lease) return RESUMED + lease <= NOW end

-- alive tells whether a process has not let its lease run out: the deadline is true.
local function alive(key, id)
  local till = tonumber(call('ZSCORE', key, id) or '')
  return till and (till > NOW or not judged(LEASE)) and till
end

-- meet gives a proxy that is not known a lease, so that the reaper finds what is put down as its. It may
-- have been taken for dead, and it has to learn that: the half of a ms says that it has not.
local function meet(proxy) call('ZADD', P .. 'proxies', 'NX', NOW + LEASE + 0.5, proxy) end
