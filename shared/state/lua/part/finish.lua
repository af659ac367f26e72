--@ session queue release token
-- The end of a session.
local function over(S) return S.state == 'ended' or S.state == 'rejected' end

-- finish ends a session in whatever state it is. R may hold age (ms since it happened) and
-- what was counted. Giving the freed slot to somebody is the caller's part.
local function finish(S, reason, R)
  local was, kind = S.state, (S.attempt == '0') and 'rejected' or 'ended'
  if was == 'queued' then
    ticket(S)
    dequeue(S.id, S.class)
  elseif was == 'assigned' then
    release(S)
  else
    call('SREM', P .. 'held:' .. S.worker, S.id)
  end
  call('SREM', P .. 'owned:' .. S.proxy, S.id)
  discharge(S)

  local happened, late = TIME, R and R.age > 0
  if late then happened = int(NOW - R.age) end
  S.state = kind
  local key = P .. 'session:' .. S.id
  call('HSET', key, 'state', kind, 'reason', reason, 'ended_at', happened)
  call('PEXPIRE', key, ENDED_AGE)
  local surplus = call('ZCARD', P .. 'ended') + 1 - ENDED_MAX
  if surplus > 0 then
    -- Two at a time, so that a bound that was lowered is reached some day.
    local old = call('ZPOPMIN', P .. 'ended', math.min(surplus, 2))
    for i = 1, #old, 2 do call('DEL', P .. 'session:' .. old[i]) end
  end
  call('ZADD', P .. 'ended', TIME, S.id)

  local began = (S.assigned_at ~= '') and S.assigned_at or happened
  local f = { 'reason', reason, 'queued_ms', span(S.queued_at, began) }
  if kind == 'ended' then
    R = R or {}
    f = { 'reason', reason, 'queued_ms', f[4], 'bytes_up', R.bytes_up or '0', 'bytes_down', R.bytes_down or '0',
      'messages_up', R.messages_up or '0', 'messages_down', R.messages_down or '0', 'started', '0' }
    if S.started_at ~= '' then
      f[14], f[15], f[16] = '1', 'connect_ms', span(began, S.started_at)
      f[17], f[18] = 'active_ms', span(S.started_at, happened)
    end
  end
  if late then
    local n = #f
    f[n + 1], f[n + 2] = 'happened', happened
  end
  session_event('session.' .. kind, S, f)
end
