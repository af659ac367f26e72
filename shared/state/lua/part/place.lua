--@ session worker token
-- place gives a slot of W to S. The caller has made sure that W has capacity, and shows what is
-- left of it. How many W has served is returned.
local function place(S, W)
  S.state, S.worker, S.endpoint = 'assigned', W.id, W.endpoint
  S.attempt, S.assigned_at = int(S.attempt + 1), TIME
  S.browser, S.browser_version, S.playwright = W.browser, W.browser_version, W.playwright
  call('SADD', P .. 'held:' .. W.id, S.id)
  local served = call('INCR', P .. 'served:' .. W.id)
  call('ZADD', P .. 'leases', int(NOW + START_LEASE), S.id)
  charge(S, '0')
  local text = record(S)
  session_event('session.assigned', S, 'queued_ms', span(S.queued_at, TIME))
  recall(S, text)
  return served
end
