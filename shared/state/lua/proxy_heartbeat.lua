--@ report sweep tidy deadline
-- proxy_heartbeat renews a proxy's lease, ends what it saw ending in case its worker could not
-- say so, and tells when the next deadline of the pool comes.
-- ARGV  1 proxy  2 ends (as report reads them)  3 time of the reply that said 'new' last, once it has heeded that, else ''
-- reply {epoch, rev, 'known'|'new', ms until the next deadline, -1 when there is none, time in ms}
--       'new' also for one that was away for longer than its lease: its tickets may be gone
-- Who was told so may not have heard it. It is new until it names the reply that said so; the
-- half of a ms that meet gives stays until then. Time that stood still forgives a lease that was
-- over before, but not what others have ended by then.
local till = tonumber(call('ZSCORE', P .. 'proxies', ARGV[1]) or '')
local known = till and till > NOW and (till % 1 == 0 or till == (tonumber(ARGV[3]) or 0) + LEASE + 0.5)
call('ZADD', P .. 'proxies', NOW + LEASE + (known and 0 or 0.5), ARGV[1])
call('PEXPIRE', P .. 'inbox:' .. ARGV[1], INBOX_AGE)
give(report('proxy', ARGV[1], ARGV[2]))
if not known then sweep() end
tidy()
return { EPOCH, REV, known and 'known' or 'new', next_deadline(), TIME }
