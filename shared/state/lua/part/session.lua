--@ base
-- The record of a session and the events that tell of it. A field that the record does not
-- have is ''. What only matters while it waits is read by ticket.
local function session(id)
  local v = call('HMGET', P .. 'session:' .. id, 'state', 'worker', 'proxy', 'attempt', 'queued_at', 'assigned_at', 'started_at',
    'browser', 'browser_version', 'playwright', 'name', 'labels', 'token', 'client')
  if not v[1] then return nil end
  return { id = id, state = v[1], worker = v[2] or '', proxy = v[3] or '', attempt = v[4] or '0', queued_at = v[5] or '',
    assigned_at = v[6] or '', started_at = v[7] or '', browser = v[8] or '', browser_version = v[9] or '',
    playwright = v[10] or '', name = v[11] or '', labels = v[12] or '', token = v[13] or '', client = v[14] or '' }
end

local function ticket(S)
  local v = call('HMGET', P .. 'session:' .. S.id, 'class', 'seq', 'demand')
  S.class, S.seq, S.demand = v[1] or '', v[2] or '0', v[3] or ''
end

-- span is the ms from one time to another; two clocks may have told them.
local function span(from, to) return int(math.max(0, to - from)) end

local ABOUT = { 'worker', 'browser', 'browser_version', 'playwright', 'name', 'labels', 'token', 'client' }

-- session_event takes what is special to its kind as a flat list of fields.
local function session_event(kind, S, f)
  local n = #f
  f[n + 1], f[n + 2], f[n + 3], f[n + 4], f[n + 5], f[n + 6] = 'session', S.id, 'proxy', S.proxy, 'attempt', S.attempt
  n = n + 6
  for i = 1, #ABOUT do
    local value = S[ABOUT[i]]
    if value ~= '' then
      f[n + 1], f[n + 2] = ABOUT[i], value
      n = n + 2
    end
  end
  emit(kind, S.id .. ':' .. kind .. ':' .. S.attempt, f, S.state ~= 'ended' and S.state ~= 'rejected')
end
