--@ base fits sessions dispatch
-- retire takes a worker out of placement for good; what it serves goes on. At the end of a
-- lifetime one worker may always retire, further ones only while at least four fifths of the
-- fleet stay; who may not, serves on for another round of its slots.
-- KEYS  schema epoch clock rev events workers retiring recycling worker free
-- ARGV  1 worker  2 reason: lifetime|drain|memory  3 heartbeat number
-- reply {epoch, rev, 'retiring', sessions it still holds} | {epoch, rev, 'later', new lifetime} | {epoch, rev, 'unknown'}
local W = worker(ARGV[1])
if not W then return { EPOCH, REV, 'unknown' } end
if W.state ~= 'retiring' then
  if ARGV[2] ~= 'drain' then
    local away = call('ZCARD', P .. 'retiring') + call('ZCOUNT', P .. 'recycling', int(NOW), '+inf')
    local all = call('ZCARD', P .. 'workers') + call('ZCOUNT', P .. 'recycling', int(NOW), '+inf')
    if away > 0 and (away + 1) * 5 > all then
      local served = tonumber(call('ZSCORE', P .. 'served', W.id) or '0')
      W.lifetime = int(math.max(served, tonumber(W.lifetime)) + W.slots)
      call('HSET', P .. 'worker:' .. W.id, 'lifetime', W.lifetime)
      changed(W.id)
      dispatch(W)
      return { EPOCH, REV, 'later', W.lifetime }
    end
  end
  call('ZADD', P .. 'retiring', int(NOW), W.id)
  set_state(W, 'retiring', ARGV[3], ARGV[2])
  offer(W)
end
return { EPOCH, REV, 'retiring', int(call('SCARD', P .. 'held:' .. W.id)) }
