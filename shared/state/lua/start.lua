--@ base sessions
-- start makes an assigned session active. The gate calls it once for every connection, and
-- only a yes lets the connection through. The nonce tells a repeated call whose reply was
-- lost from a second connection that uses the same assignment.
-- KEYS  fixed session
-- ARGV  1 session  2 worker  3 attempt  4 nonce  5 number of the worker's current heartbeat
-- reply {epoch, rev, 'ok'} or {epoch, rev, 'unknown'|'queued'|'elsewhere'|'used'|'over'}
local S = session(ARGV[1])
if not S then return { EPOCH, REV, 'unknown' } end
if over(S) then return { EPOCH, REV, 'over' } end
if S.state == 'queued' then return { EPOCH, REV, 'queued' } end
if S.worker ~= ARGV[2] or S.attempt ~= ARGV[3] then return { EPOCH, REV, 'elsewhere' } end
if S.state == 'active' then return { EPOCH, REV, (S.nonce == ARGV[4]) and 'ok' or 'used' } end

S.state, S.started_at = 'active', int(NOW)
call('HSET', P .. 'session:' .. S.id, 'state', 'active', 'started_at', S.started_at, 'nonce', ARGV[4], 'beat', ARGV[5])
call('ZREM', P .. 'leases', S.id)
session_event('session.started', S, { 'connect_ms', int(math.max(0, NOW - S.assigned_at)) })
return { EPOCH, REV, 'ok' }
