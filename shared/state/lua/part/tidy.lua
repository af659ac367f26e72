--@ base
-- tidy drops what has become too old to be of use. Nobody waits for it, so it rides on calls
-- that come by anyway.
local function tidy()
  if judged(FADE) then call('ZREMRANGEBYSCORE', P .. 'recycling', '-inf', TIME) end
  call('ZREMRANGEBYSCORE', P .. 'ended', '-inf', NOW - ENDED_AGE)
  call('ZREMRANGEBYSCORE', P .. 'changed', '-inf', REV - CHANGES_KEPT)
  call('XTRIM', P .. 'events', 'MINID', '~', NOW - EVENTS_AGE)
end
