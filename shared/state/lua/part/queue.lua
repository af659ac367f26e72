--@ session token
-- The queue has one zset for each class of demand, and one for all of them.
-- enqueue lets S wait. S.listed says that its class is known to wait already.
local function enqueue(S)
  S.state, S.worker = 'queued', ''
  record(S)
  if not S.listed then call('HSET', P .. 'classes', S.class, S.demand) end
  call('ZADD', P .. 'queue:' .. S.class, S.seq, S.id)
  call('ZADD', P .. 'waiting', S.seq, S.id)
  charge(S, S.seq)
  session_event('session.queued', S, 'class', S.class, 'seq', S.seq)
end

local function unqueue(id, class)
  call('ZREM', P .. 'queue:' .. class, id)
  call('ZREM', P .. 'waiting', id)
end

local function dequeue(id, class)
  unqueue(id, class)
  if call('EXISTS', P .. 'queue:' .. class) == 0 then call('HDEL', P .. 'classes', class) end
end
