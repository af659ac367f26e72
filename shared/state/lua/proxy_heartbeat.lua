--@ report sweep tidy deadline
-- proxy_heartbeat renews a proxy's lease, ends what it saw ending in case its worker could not
-- say so, and tells when the next deadline of the pool comes.
-- KEYS  base dispatch changed recycling fading inbox
-- ARGV  1 proxy  2 ended sessions (JSON as finish)
-- reply {epoch, rev, 'known'|'new', ms until the next deadline, -1 when there is none, time in ms}
--       'new' also for one that was away for longer than its lease: its tickets may be gone
local till = alive(P .. 'proxies', ARGV[1])
local known = till and till % 1 == 0
call('ZADD', P .. 'proxies', NOW + LEASE, ARGV[1])
call('PEXPIRE', P .. 'inbox:' .. ARGV[1], INBOX_AGE)
give(report('proxy', ARGV[1], ARGV[2]))
if not known then sweep() end
tidy()
return { EPOCH, REV, known and 'known' or 'new', next_deadline(), TIME }
