--@ health worker
-- remove takes a worker out of the fleet. Its sessions are the caller's part: an active one
-- may still be alive between proxy and worker.
local function remove(W, kind, number, reason)
  local id = W.id
  -- A join that it sent before must not bring it back.
  call('SET', P .. 'left:' .. id, number, 'PX', TOMBSTONE)
  call('DEL', P .. 'worker:' .. id, P .. 'served:' .. id)
  for _, name in ipairs({ 'workers', 'beats', 'retiring', 'parting' }) do call('ZREM', P .. name, id) end
  withdraw(id, W.flavour)
  call('SREM', P .. 'members:' .. W.flavour, id)
  if call('EXISTS', P .. 'members:' .. W.flavour) == 0 then
    call('ZADD', P .. 'fading', NOW + FADE, W.flavour)
  end
  if call('HGET', P .. 'endpoints', W.endpoint) == id then call('HDEL', P .. 'endpoints', W.endpoint) end
  changed(id)
  worker_event(kind, W, number, { 'reason', reason })
end
