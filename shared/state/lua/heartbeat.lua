--@ health report held dispatch
-- heartbeat renews a worker's lease and compares what it serves with the log. Heartbeats are
-- numbered snapshots: number n ends only active sessions that started under a lower number and
-- are not in its list; an assigned one it does not touch. Of a session whose record has vanished it
-- frees the slot; one that the worker serves it gets back by joining.
-- ARGV  1 worker  2 number  3 state: ready|unhealthy|retiring  4 reason for sessions that are missing
--       5 active sessions (JSON array of ids)  6 ends (as report reads them)
-- reply {epoch, rev, 'ok', state of the worker, time in ms, sessions of the list that have ended ...}
--       {epoch, rev, 'join'} when the pool does not know it, or not all that it serves or has ended
--       {epoch, rev, 'stale', last number}
local W = worker(ARGV[1], true)
local number = tonumber(ARGV[2])
if not W or not call('ZSCORE', P .. 'workers', W.id) then return { EPOCH, REV, 'join' } end
local last = tonumber(call('ZSCORE', P .. 'beats', W.id) or '0')
if number <= last then return { EPOCH, REV, 'stale', int(last) } end

local listed, ended, lost = {}, {}, false
for _, sid in ipairs(cjson.decode(ARGV[5])) do
  listed[sid] = true
  local S = session(sid)
  if not S or S.state == 'queued' or S.state == 'assigned' then
    -- Redis lost that it started.
    lost = true
  elseif S.state ~= 'active' or S.worker ~= W.id then
    ended[#ended + 1] = sid
  end
end

call('ZADD', P .. 'workers', NOW + LEASE, W.id)
call('ZADD', P .. 'beats', number, W.id)
local _, unstarted = report('worker', W.id, ARGV[6])
lost = lost or unstarted
for _, S in ipairs(holders(W.id, listed)) do
  if S.state == 'active' and served_since(S) < number then finish(S, ARGV[4]) end
end
if lost and ARGV[3] == 'ready' then
  -- The slots that it seems to have are taken. It is ready again when it has joined.
  set_state(W, 'suspect', int(number), 'sessions_lost')
else
  set_state(W, ARGV[3], int(number), (ARGV[3] == 'unhealthy') and ARGV[4] or '')
end
dispatch(W)
if lost then return { EPOCH, REV, 'join' } end
return { EPOCH, REV, 'ok', W.state, TIME, unpack(ended) }
