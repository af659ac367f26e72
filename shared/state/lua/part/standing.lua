--@ session
-- standing are the fields of a reply that tell a proxy where its session is.
local function standing(S)
  if S.state == 'assigned' or S.state == 'active' then
    local endpoint = S.endpoint or call('HGET', P .. 'worker:' .. S.worker, 'endpoint') or ''
    return { S.state, S.worker, endpoint, S.attempt, S.browser_version, S.playwright }
  elseif S.state == 'queued' then
    ticket(S)
    local rank = call('ZRANK', P .. 'queue:' .. S.class, S.id) or 0
    return { 'queued', int(rank + 1), int(S.waiting or call('ZCARD', P .. 'waiting')), S.attempt }
  end
  return { S.state, noted(S) }
end
