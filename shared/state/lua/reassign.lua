--@ fits health choose place release queue standing
-- reassign takes an assigned session away from a worker that could not be dialled and gives
-- it another one, or its old place in the queue. The worker is suspect until its next
-- heartbeat: a dead worker would otherwise be the least loaded one.
-- ARGV  1 session  2 worker  3 attempt
-- reply {epoch, rev, and the fields of acquire's}; {epoch, rev, 'unknown'} when the session is not known (Redis lost it)
local S = session(ARGV[1])
if not S then return { EPOCH, REV, 'unknown' } end
if S.state ~= 'assigned' or S.worker ~= ARGV[2] or S.attempt ~= ARGV[3] then return { EPOCH, REV, unpack(standing(S)) } end

local bad = worker(S.worker)
release(S)
if bad then
  if bad.state == 'ready' then
    set_state(bad, 'suspect', call('ZSCORE', P .. 'beats', bad.id) or '0', 'dial_failed')
  end
  offer(bad)
end
ticket(S)
local W = choose(fits(S.class, S.demand))
if W then
  offer(W, place(S, W))
else
  -- What it waits for is again what its client asked for.
  S.browser_version, S.playwright = '', cjson.decode(S.demand).playwright or ''
  enqueue(S)
end
return { EPOCH, REV, unpack(standing(S)) }
