--@ base fits sessions dispatch report remove
-- leave takes a worker out of the fleet. It is refused while a slot is held, unless the
-- worker's own deadline has passed (force), which ends what is held.
-- KEYS  schema epoch clock rev events workers recycling worker held
-- ARGV  1 worker  2 reason: lifetime|drain|memory  3 heartbeat number  4 '1' = force
--       5 ended sessions to report (JSON as finish)
-- reply {epoch, rev, 'left'} | {epoch, rev, 'held', count}
local W = worker(ARGV[1])
report('worker', ARGV[1], ARGV[5])
local held = call('SMEMBERS', P .. 'held:' .. ARGV[1])
if #held > 0 and ARGV[4] ~= '1' then return { EPOCH, REV, 'held', int(#held) } end
for _, sid in ipairs(held) do
  local S = session(sid)
  if S then finish(S, 'worker_drained') else call('SREM', P .. 'held:' .. ARGV[1], sid) end
end
if W then
  if ARGV[2] ~= 'drain' then call('ZADD', P .. 'recycling', int(NOW + FADE), W.endpoint) end
  remove(W, 'worker.left', ARGV[3], ARGV[2])
end
return { EPOCH, REV, 'left' }
