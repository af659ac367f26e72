--@ session token
-- The queue has one zset for each class of demand, and one for all of them.
local function enqueue(S, more)
  S.state, S.worker = 'queued', ''
  call('HSET', P .. 'session:' .. S.id, 'state', 'queued', 'worker', '', unpack(more))
  call('HSET', P .. 'classes', S.class, S.demand)
  call('ZADD', P .. 'queue:' .. S.class, S.seq, S.id)
  call('ZADD', P .. 'waiting', S.seq, S.id)
  charge(S, S.seq)
  session_event('session.queued', S, { 'class', S.class, 'seq', S.seq })
end

local function dequeue(id, class)
  local queue = P .. 'queue:' .. class
  call('ZREM', queue, id)
  call('ZREM', P .. 'waiting', id)
  if call('EXISTS', queue) == 0 then call('HDEL', P .. 'classes', class) end
end
