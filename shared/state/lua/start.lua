--@ session
-- start makes an assigned session active. The gate calls it once for every connection, and
-- only a yes lets the connection through. The nonce tells a repeated call whose reply was
-- lost from a second connection that uses the same assignment.
-- ARGV  1 session  2 worker  3 attempt  4 nonce  5 number of the worker's current heartbeat
-- reply {epoch, rev, 'ok'} or {epoch, rev, 'unknown'|'queued'|'elsewhere'|'used'|'over'}
local S = session(ARGV[1])
if not S then return { EPOCH, REV, 'unknown' } end
if S.state == 'ended' or S.state == 'rejected' then return { EPOCH, REV, 'over' } end
if S.state == 'queued' then return { EPOCH, REV, 'queued' } end
if S.worker ~= ARGV[2] or S.attempt ~= ARGV[3] then return { EPOCH, REV, 'elsewhere' } end
if S.state == 'active' then return { EPOCH, REV, (noted(S) == ARGV[4]) and 'ok' or 'used' } end

S.state, S.started_at, S.rest = 'active', TIME, ARGV[4] .. '\n' .. ARGV[5]
record(S)
call('ZREM', P .. 'leases', S.id)
session_event('session.started', S, 'connect_ms', span(S.assigned_at, TIME))
return { EPOCH, REV, 'ok' }
