--@ base fits sessions dispatch remove deadline
-- reap ends what nobody is left to end. A queued or assigned session goes when its proxy's
-- lease or its start lease is gone; an active one only when worker and proxy are both gone,
-- because each of them sees the connection. In batches, so that no call holds Redis for long.
-- KEYS  schema epoch clock rev events workers proxies leases fading recycling changed ended
-- ARGV  1 how many sessions at most
-- reply {epoch, rev, ended sessions, ms until the next deadline}
local batch, count, freed = tonumber(ARGV[1]), 0, {}

for _, sid in ipairs(call('ZRANGEBYSCORE', P .. 'leases', '-inf', int(NOW), 'LIMIT', 0, batch)) do
  local S = session(sid)
  if S and S.state == 'assigned' then
    finish(S, 'lease_expired')
    freed[S.worker] = true
    count = count + 1
    call('XADD', P .. 'inbox:' .. S.proxy, '*', 'kind', 'ended', 'epoch', EPOCH, 'session', S.id, 'reason', 'lease_expired')
    if not alive(P .. 'proxies', S.proxy) then call('PEXPIRE', P .. 'inbox:' .. S.proxy, LEASE * 4) end
  else
    call('ZREM', P .. 'leases', sid)
  end
end

for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'workers', '-inf', int(NOW), 'LIMIT', 0, 4)) do
  local W = worker(id)
  if W then
    remove(W, 'worker.lost', call('ZSCORE', P .. 'beats', id) or '0', 'lease_expired')
  else
    call('ZREM', P .. 'workers', id)
  end
  for _, sid in ipairs(call('SMEMBERS', P .. 'held:' .. id)) do
    local S = session(sid)
    if not S then
      call('SREM', P .. 'held:' .. id, sid)
    elseif S.state == 'active' and not alive(P .. 'proxies', S.proxy) then
      finish(S, 'worker_lost')
      count = count + 1
    end
  end
end

for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'proxies', '-inf', int(NOW), 'LIMIT', 0, 4)) do
  local owned = P .. 'owned:' .. id
  for _, sid in ipairs(call('SRANDMEMBER', owned, batch)) do
    local S = session(sid)
    if not S or over(S) then
      call('SREM', owned, sid)
    elseif S.state == 'active' and alive(P .. 'workers', S.worker) then
      -- Its worker sees the connection break, and its held set still names it.
      call('SREM', owned, sid)
    else
      freed[S.worker] = true
      finish(S, 'proxy_lost')
      count = count + 1
    end
  end
  if call('EXISTS', owned) == 0 then
    call('ZREM', P .. 'proxies', id)
    call('DEL', P .. 'inbox:' .. id)
  end
end

for _, flavour in ipairs(call('ZRANGEBYSCORE', P .. 'fading', '-inf', int(NOW))) do
  call('HDEL', P .. 'flavours', flavour)
  call('ZREM', P .. 'fading', flavour)
  call('DEL', P .. 'fits')
end
call('ZREMRANGEBYSCORE', P .. 'recycling', '-inf', int(NOW))
call('ZREMRANGEBYSCORE', P .. 'ended', '-inf', int(NOW - ENDED_AGE))
call('ZREMRANGEBYSCORE', P .. 'changed', '-inf', int(tonumber(REV) - CHANGES_KEPT))
call('XTRIM', P .. 'events', 'MINID', '~', int(NOW - EVENTS_AGE))
give(freed)
return { EPOCH, REV, int(count), next_deadline() }
