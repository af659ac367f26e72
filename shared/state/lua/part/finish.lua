--@ session queue release token
-- The end of a session.
local function over(S) return S.state == 'ended' or S.state == 'rejected' end

-- bound makes room for a session among those that are kept after their end. Of many, one in eight looks after
-- that for sixteen, so that a bound that was lowered is reached some day; ids end in any digit.
local function bound(id)
  if ENDED_MAX > 1000 and string.byte(id, -1) % 8 > 0 then return end
  local surplus = call('ZCARD', P .. 'ended') + 1 - ENDED_MAX
  if surplus <= 0 then return end
  local old, records = call('ZPOPMIN', P .. 'ended', math.min(surplus, 16)), {}
  for i = 1, #old, 2 do records[#records + 1] = P .. 'session:' .. old[i] end
  if records[1] then call('DEL', unpack(records)) end
end

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
  S.state, S.rest = kind, reason .. '\n' .. happened
  record(S, ENDED_AGE)
  bound(S.id)
  call('ZADD', P .. 'ended', TIME, S.id)

  local began = (S.assigned_at ~= '') and S.assigned_at or happened
  local queued = span(S.queued_at, began)
  late = late and happened or ''
  if kind == 'rejected' then
    session_event('session.rejected', S, 'reason', reason, 'queued_ms', queued, optional('happened', late))
    return
  end
  R = R or {}
  local started, connect, active = '0', '', ''
  if S.started_at ~= '' then started, connect, active = '1', span(began, S.started_at), span(S.started_at, happened) end
  session_event('session.ended', S, 'reason', reason, 'queued_ms', queued, 'bytes_up', R.bytes_up or '0',
    'bytes_down', R.bytes_down or '0', 'messages_up', R.messages_up or '0', 'messages_down', R.messages_down or '0',
    'started', started, optional('connect_ms', connect, optional('active_ms', active, optional('happened', late))))
end
