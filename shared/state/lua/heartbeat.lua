--@ base fits sessions dispatch report
-- heartbeat renews a worker's lease and compares what it serves with the log. Heartbeats are
-- numbered snapshots: number n ends only active sessions that started under a lower number and
-- are not in its list; an assigned one it does not touch.
-- KEYS  schema epoch clock rev events workers beats worker held
-- ARGV  1 worker  2 number  3 state: ready|unhealthy  4 reason for sessions that are missing
--       5 active sessions (JSON array of ids)  6 ended sessions to report (JSON as finish)
-- reply {epoch, rev, 'ok', state of the worker, sessions of the list that have ended ...}
--       {epoch, rev, 'join'} when the pool does not know it, or not all of its sessions
--       {epoch, rev, 'stale', last number}
local W = worker(ARGV[1])
local number = tonumber(ARGV[2])
if not W or not call('ZSCORE', P .. 'workers', W.id) then return { EPOCH, REV, 'join' } end
local last = tonumber(call('ZSCORE', P .. 'beats', W.id) or '0')
if number <= last then return { EPOCH, REV, 'stale', int(last) } end

local listed, ended, lost = {}, {}, false
for _, sid in ipairs(cjson.decode(ARGV[5])) do
  listed[sid] = true
  local S = session(sid)
  if not S or (S.state == 'assigned' and S.worker == W.id) then
    lost = true
  elseif S.state ~= 'active' or S.worker ~= W.id then
    ended[#ended + 1] = sid
  end
end

call('ZADD', P .. 'workers', int(NOW + LEASE), W.id)
call('ZADD', P .. 'beats', int(number), W.id)
local freed = report('worker', W.id, ARGV[6])
for _, sid in ipairs(call('SMEMBERS', P .. 'held:' .. W.id)) do
  local S = session(sid)
  if S and S.state == 'active' and not listed[sid] and tonumber(S.beat) < number then
    finish(S, ARGV[4])
  end
end
if W.state ~= 'retiring' then set_state(W, ARGV[3], int(number), (ARGV[3] == 'unhealthy') and ARGV[4] or nil) end
dispatch(W)
if lost then return { EPOCH, REV, 'join' } end
return { EPOCH, REV, 'ok', W.state, unpack(ended) }
