--@ base
-- tell puts a notice into the inbox of a session's proxy. An inbox that nobody reads any more
-- must not stay, and this may be what makes it. Heartbeats of the proxy renew it.
local function tell(S, kind, ...)
  local inbox = P .. 'inbox:' .. S.proxy
  local new = call('EXISTS', inbox) == 0
  call('XADD', inbox, '*', 'kind', kind, 'epoch', EPOCH, 'session', S.id, ...)
  if new then call('PEXPIRE', inbox, INBOX_AGE) end
end
