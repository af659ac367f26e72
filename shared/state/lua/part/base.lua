--@
-- Part of every script: time, epoch, version fence, events, leases.
-- The constants P, POOL, SCHEMA, HEARTBEAT, LEASE, START_LEASE, ... stand in front of it.
-- All parts and scripts are one library of functions, which Redis keeps. A variable outside of all
-- functions goes from one call to the next: there are these, and begin sets each of them by what it reads.
-- Scripts declare a single key, which names the slot of the pool: all that they touch are in it.
local call, TIME, NOW, EPOCH, REV, RESUMED, CLOCK
local skips -- how many tickets of dead proxies this call may still end on its way (dispatch)
-- What P:head said last, as text; EPOCH, REV, RESUMED and CLOCK are what it means.
local head

-- int makes text of a whole number. Numbers of Redis TIME must not pass through tostring, which
-- may lose digits. As an argument of a command a number needs nothing, but Redis writes it with
-- all digits that it may have, which takes several times as long. Most are small, and written already.
local small = {}
local function int(n)
  local text = small[n]
  if not text then
    text = string.format('%d', n)
    if n >= 0 and n < 100 then small[n] = text end
  end
  return text
end

-- emit writes an event with the names and values that are special to it. Where another is sure to
-- follow (more), that one bounds the stream.
local function emit(kind, id, more, ...)
  if more then
    call('XADD', P .. 'events', '*', 'v', '1', 'type', kind, 'id', id, 'at', TIME, 'pool', POOL, ...)
  else
    call('XADD', P .. 'events', 'MAXLEN', '~', EVENTS_MAX, '*', 'v', '1', 'type', kind,
      'id', id, 'at', TIME, 'pool', POOL, ...)
  end
end

-- keep writes P:head. One key, because every call reads it, and usually finds what the one before left.
local function keep()
  head = SCHEMA .. ' ' .. EPOCH .. ' ' .. REV .. ' ' .. int(RESUMED) .. ' ' .. int(CLOCK)
  call('SET', P .. 'head', head)
end

-- now returns the ms of Redis' clock. P:tick expires at HORIZON, so what it has left to live tells the time: in
-- one number, where TIME takes three times as long to make two texts, which then have to be read.
local function now()
  local left = call('PTTL', P .. 'tick')
  if left > 0 then return HORIZON - left end
  call('SET', P .. 'tick', '', 'PXAT', int(HORIZON))
  local tm = call('TIME')
  return tonumber(tm[1]) * 1000 + math.floor(tm[2] / 1000)
end

-- foreign learns what P:head says now. It returns the version of another release whose pool this is: two
-- whose scripts differ must not write into one pool.
local function foreign(seen)
  if not seen then
    -- Releases of before P:head know their pools by this key.
    local schema = call('GET', P .. 'schema')
    return schema ~= SCHEMA and schema
  end
  local schema, epoch, rev, resumed, clock = string.match(seen, '^(%S+) (%S+) (%d+) (%d+) (%d+)$')
  if schema ~= SCHEMA then return schema or string.match(seen, '^%S+') or '?' end
  head, EPOCH, REV = seen, epoch, rev
  -- When time went on after nobody could write for a while. Before a whole lease has passed since
  -- then, no deadline is judged by the time that it names.
  RESUMED, CLOCK = tonumber(resumed), tonumber(clock)
end

-- found makes a new pool in an empty Redis, or one that lost its data. Everybody sees the new epoch in the
-- next reply and tells again what it knows.
local function found()
  EPOCH, REV, RESUMED, CLOCK = TIME .. '-' .. call('TIME')[2], '0', 0, NOW
  call('SET', P .. 'schema', SCHEMA)
  keep()
  emit('pool.reset', POOL .. ':pool.reset:' .. EPOCH, false, 'epoch', EPOCH)
end

-- begin is the start of every call. It returns the error of a call that the pool must not take.
local function begin()
  call, skips = redis.call, MAX_SKIPPED
  local seen = call('GET', P .. 'head')
  local other = (not seen or seen ~= head) and foreign(seen)
  if other then return redis.error_reply('PWDISTSCHEMA ' .. other) end
  NOW = now()
  TIME = int(NOW)
  if not seen then found() end

  local gap = NOW - CLOCK
  if gap < 0 and gap > -HEARTBEAT then
    -- A clock that was set back a little must not make time run twice.
    NOW, TIME = CLOCK, int(CLOCK)
  elseif gap < 0 or gap > 2 * HEARTBEAT then
    -- Nobody could write for a while, so nobody could renew a lease or come back:
    -- no deadline is judged by this gap. Where the clock was set back, they are too far away besides;
    -- what meet has noted is lost with them, so every proxy is told.
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
    RESUMED, CLOCK = NOW, NOW
    keep()
    emit('pool.resumed', POOL .. ':pool.resumed:' .. TIME, false, 'epoch', EPOCH, 'gap_ms', gap)
  elseif gap > HEARTBEAT / 50 then
    -- Fine enough to tell a gap, and far less than once in every call of a busy pool.
    CLOCK = NOW
    keep()
    -- Who copies keys to another Redis may give them what they had left, and that a little later.
    call('PEXPIREAT', P .. 'tick', int(HORIZON))
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
-- have been taken for dead, and it has to learn that: the half of a ms says that it has not. Only time ends
-- a lease, so one that has been seen (met) is known until then.
local met, mets, met_epoch, met_resumed = {}, 0, '', 0
local function meet(proxy)
  if met_epoch ~= EPOCH or met_resumed ~= RESUMED or mets > 64 then met, mets, met_epoch, met_resumed = {}, 0, EPOCH, RESUMED end
  local till = met[proxy]
  if till and till > NOW then return end
  call('ZADD', P .. 'proxies', 'NX', NOW + LEASE + 0.5, proxy)
  if not till then mets = mets + 1 end
  met[proxy] = tonumber(call('ZSCORE', P .. 'proxies', proxy))
end
