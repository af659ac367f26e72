--@ finish dispatch
-- cancel ends a session for its proxy, in whatever state it is. An id that is not known yet
-- gets a tombstone: an acquire that was sent before the client left can still run after this.
-- ARGV  1 session  2 proxy  3 reason
-- reply {epoch, rev, state before: 'unknown'|'queued'|'assigned'|'active'|'over'}
local S = session(ARGV[1])
if not S then
  S = blank(ARGV[1])
  S.state, S.proxy, S.rest = 'rejected', ARGV[2], ARGV[3] .. '\n'
  record(S, TOMBSTONE)
  return { EPOCH, REV, 'unknown' }
end
if over(S) then return { EPOCH, REV, 'over' } end
local was = S.state
finish(S, ARGV[3])
give({ [S.worker] = true })
return { EPOCH, REV, was }
