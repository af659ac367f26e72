--@ health dispatch
-- retire takes a worker out of placement for good; what it serves goes on. At the end of its
-- lifetime, or before when its browser has grown too large, it goes when it may; else it
-- serves on, and learns here how long its lifetime is by now.
-- ARGV  1 worker  2 reason: lifetime|drain|memory  3 heartbeat number
-- reply {epoch, rev, 'retiring', sessions it still holds} | {epoch, rev, 'later', lifetime by now, 0 = off} |
--       {epoch, rev, 'unknown'}
local W = worker(ARGV[1], true)
if not W then return { EPOCH, REV, 'unknown' } end
if W.state ~= 'retiring' then
  local lifetime, served = tonumber(W.lifetime), tonumber(call('GET', P .. 'served:' .. W.id) or '0')
  if ARGV[2] ~= 'drain' and not may_go(W) then
    if lifetime > 0 and served >= lifetime then
      prolong(W, served)
      dispatch(W)
    end
    return { EPOCH, REV, 'later', W.lifetime }
  end
  set_state(W, 'retiring', ARGV[3], ARGV[2])
  offer(W)
end
return { EPOCH, REV, 'retiring', int(call('SCARD', P .. 'held:' .. W.id)) }
