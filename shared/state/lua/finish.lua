--@ report dispatch
-- finish ends active sessions as their worker or their proxy saw it.
-- ARGV  1 'worker' or 'proxy'  2 its id  3 ends (as report reads them)
-- reply {epoch, rev}
give(report(ARGV[1], ARGV[2], ARGV[3]))
return { EPOCH, REV }
