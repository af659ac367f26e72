--@ remove finish held sweep tidy deadline
-- reap ends what nobody is left to end. A queued or assigned session goes when its proxy's
-- lease or its start lease is gone; an active one only when worker and proxy are both gone,
-- because each of them sees the connection. In batches, so that no call holds Redis for long:
-- what is left shows as a deadline that has passed.
-- ARGV  1 how many sessions to look at, about
-- reply {epoch, rev, how much was done: sessions that it ended or need not end, ms until the next deadline}
local left, count, freed = tonumber(ARGV[1]), 0, {}
local function due(key, lease, limit)
  if not judged(lease) then return {} end
  return call('ZRANGEBYSCORE', key, '-inf', TIME, 'LIMIT', 0, math.max(limit, 0))
end

local function lose(S, reason)
  freed[S.worker] = true
  finish(S, reason)
  count = count + 1
end

for _, sid in ipairs(due(P .. 'leases', START_LEASE, left)) do
  local S = session(sid)
  left = left - 1
  if S and S.state == 'assigned' then
    lose(S, 'lease_expired')
    tell(S, 'ended', 'reason', 'lease_expired')
  else
    call('ZREM', P .. 'leases', sid)
  end
end

for _, id in ipairs(due(P .. 'workers', LEASE, left)) do
  if left <= 0 then break end
  left = left - 1
  local W = worker(id)
  local lost = {}
  for _, S in ipairs(holders(id)) do
    if S.state == 'active' then
      if alive(P .. 'proxies', S.proxy) then
        -- From now on only its proxy can lead to it, which an earlier loss of that proxy may
        -- have undone.
        call('SADD', P .. 'owned:' .. S.proxy, S.id)
      else
        lost[#lost + 1] = S
      end
    end
  end
  -- A worker with more of them than the batch has room for goes with the last of them.
  local whole = #lost <= math.max(left, 1)
  if whole and W then
    remove(W, 'worker.lost', call('ZSCORE', P .. 'beats', id) or '0', 'lease_expired')
  elseif whole then
    call('ZREM', P .. 'workers', id)
  end
  for i = 1, math.min(#lost, math.max(left, 1)) do
    left = left - 1
    lose(lost[i], 'worker_lost')
  end
  if not whole then break end
end

for _, id in ipairs(due(P .. 'proxies', LEASE, left)) do
  if left <= 0 then break end
  left = left - 1
  local owned = P .. 'owned:' .. id
  for _, sid in ipairs(call('SRANDMEMBER', owned, math.max(left, 1))) do
    local S = session(sid)
    left = left - 1
    if not S or over(S) or S.state == 'active' and alive(P .. 'workers', S.worker) then
      -- Its worker sees the connection break, and its held set still names it.
      call('SREM', owned, sid)
      count = count + 1
    else
      lose(S, 'proxy_lost')
    end
  end
  if call('EXISTS', owned) == 0 then
    call('ZREM', P .. 'proxies', id)
    call('DEL', P .. 'inbox:' .. id)
  end
end

local faded = due(P .. 'fading', FADE, MAX_FLAVOURS)
for _, flavour in ipairs(faded) do
  call('HDEL', P .. 'flavours', flavour)
  call('ZREM', P .. 'fading', flavour)
  call('DEL', P .. 'fits')
end
if faded[1] then revise() end
give(freed)
sweep()
tidy()
return { EPOCH, REV, int(count), next_deadline() }
