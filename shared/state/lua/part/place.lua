--@ session worker token
-- place gives a slot of W to S. The caller has made sure that W has capacity, and shows what is
-- left of it. How many W has served is returned. more are fields for the record of S.
local function place(S, W, more)
  S.state, S.worker, S.endpoint = 'assigned', W.id, W.endpoint
  S.attempt, S.assigned_at = int(S.attempt + 1), TIME
  S.browser, S.browser_version, S.playwright = W.browser, W.browser_version, W.playwright
  call('SADD', P .. 'held:' .. W.id, S.id)
  local served = call('ZINCRBY', P .. 'served', '1', W.id)
  call('ZADD', P .. 'leases', int(NOW + START_LEASE), S.id)
  charge(S, '0')
  call('HSET', P .. 'session:' .. S.id, 'state', 'assigned', 'worker', W.id, 'attempt', S.attempt, 'assigned_at', TIME,
    'browser_version', S.browser_version, 'playwright', S.playwright, unpack(more))
  session_event('session.assigned', S, { 'queued_ms', span(S.queued_at, NOW) })
  return served
end
