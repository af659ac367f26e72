-- tidy drops what has become too old to be of use. Nobody waits for it, so it rides on calls
-- that come by anyway.
local function tidy()
  call('ZREMRANGEBYSCORE', P .. 'recycling', '-inf', int(NOW))
  call('ZREMRANGEBYSCORE', P .. 'ended', '-inf', int(NOW - ENDED_AGE))
  call('ZREMRANGEBYSCORE', P .. 'changed', '-inf', int(tonumber(REV) - CHANGES_KEPT))
  call('XTRIM', P .. 'events', 'MINID', '~', int(NOW - EVENTS_AGE))
end
