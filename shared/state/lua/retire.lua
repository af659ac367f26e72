--@ health dispatch
-- retire takes a worker out of placement for good; what it serves goes on. At the end of a
-- lifetime one worker of a flavour may always retire, further ones only while at least four
-- fifths of the flavour stay; who may not, serves on for another round of its slots.
-- KEYS  base dispatch changed retiring recycling worker held
-- ARGV  1 worker  2 reason: lifetime|drain|memory  3 heartbeat number
-- reply {epoch, rev, 'retiring', sessions it still holds} | {epoch, rev, 'later', new lifetime} | {epoch, rev, 'unknown'}
local W = worker(ARGV[1])
if not W then return { EPOCH, REV, 'unknown' } end
if W.state ~= 'retiring' then
  if ARGV[2] ~= 'drain' then
    local members = P .. 'members:' .. W.flavour
    local due = 0
    for _, place in ipairs(call('ZRANGEBYSCORE', P .. 'recycling', TIME, '+inf')) do
      if string.sub(place, 1, #W.flavour + 1) == W.flavour .. '|' then due = due + 1 end
    end
    local away = call('ZINTERCARD', 2, P .. 'retiring', members) + due
    if away > 0 and (away + 1) * 5 > call('SCARD', members) + due then
      local served = tonumber(call('ZSCORE', P .. 'served', W.id) or '0')
      W.lifetime = int(math.max(served, tonumber(W.lifetime)) + W.slots)
      call('HSET', P .. 'worker:' .. W.id, 'lifetime', W.lifetime)
      changed(W.id)
      dispatch(W)
      return { EPOCH, REV, 'later', W.lifetime }
    end
  end
  set_state(W, 'retiring', ARGV[3], ARGV[2])
  offer(W)
end
return { EPOCH, REV, 'retiring', int(call('SCARD', P .. 'held:' .. W.id)) }
