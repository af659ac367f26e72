--@ report held remove dispatch
-- leave takes a worker out of the fleet. It is refused while a slot is held, unless the
-- worker's own deadline has passed (force), which ends what is active. What is assigned then
-- is moved by its proxy, whose dial fails.
-- ARGV  1 worker  2 reason: lifetime|drain|memory  3 heartbeat number  4 '1' = force
--       5 ends (as report reads them)
-- reply {epoch, rev, 'left'} | {epoch, rev, 'held', count}
local W = worker(ARGV[1], true)
local freed = report('worker', ARGV[1], ARGV[5])
local held = holders(ARGV[1])
if #held > 0 and ARGV[4] ~= '1' then
  give(freed)
  return { EPOCH, REV, 'held', int(#held) }
end
for _, S in ipairs(held) do
  if S.state == 'active' then finish(S, 'worker_drained') end
end
if W then
  if ARGV[2] ~= 'drain' then call('ZADD', P .. 'recycling', NOW + FADE, W.flavour .. '|' .. W.endpoint) end
  remove(W, 'worker.left', ARGV[3], ARGV[2])
  -- This boot is over: no number brings it back.
  call('SET', P .. 'left:' .. W.id, FINAL_NUMBER, 'PX', TOMBSTONE)
end
return { EPOCH, REV, 'left' }
