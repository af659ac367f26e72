--@ base fits sessions dispatch report deadline
-- proxy_heartbeat renews a proxy's lease, ends what it saw ending in case its worker could not
-- say so, and tells when the next deadline of the pool comes.
-- KEYS  schema epoch clock rev events proxies workers leases fading inbox
-- ARGV  1 proxy  2 ended sessions (JSON as finish)
-- reply {epoch, rev, 'known'|'new', ms until the next deadline, -1 when there is none}
local before = call('ZSCORE', P .. 'proxies', ARGV[1])
call('ZADD', P .. 'proxies', int(NOW + LEASE), ARGV[1])
call('PEXPIRE', P .. 'inbox:' .. ARGV[1], LEASE * 4)
give(report('proxy', ARGV[1], ARGV[2]))
return { EPOCH, REV, before and 'known' or 'new', next_deadline() }
