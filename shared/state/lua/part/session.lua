--@ base
-- The record of a session and the events that tell of it. A record is a text of lines: first those that session
-- reads, of which any may be empty, then what its state asks for: seq, class and demand of one that is queued or
-- assigned; nonce and beat of an active one; reason and time of the end of one that is over. Whoever calls for a
-- session needs most of it, which took twice as long when it was a hash.
local LINE = '([^\n]*)\n'
local LINES = '^' .. LINE .. LINE .. LINE .. LINE .. LINE .. LINE .. LINE .. LINE .. LINE .. LINE .. LINE .. LINE .. LINE ..
  LINE .. '(.*)$'

-- Sessions that were placed a moment ago, by their records: most start at once, and reading one is a sixth of that.
local fresh, freshes = {}, 0

-- recall keeps S, whose record says what it is, for the next call that asks for it.
local function recall(S, text)
  if freshes >= FRESH_KEPT then fresh, freshes = {}, 0 end
  fresh[text], freshes = S, freshes + 1
end

local function session(id)
  local text = call('GET', P .. 'session:' .. id)
  if not text then return nil end
  local S = fresh[text]
  if S then
    fresh[text], freshes = nil, freshes - 1
    -- The worker may say another one by now.
    S.endpoint = nil
    if S.id == id then return S end
  end
  local state, worker, attempt, proxy, queued_at, assigned_at, started_at, browser, browser_version, playwright, name, labels,
    token, client, rest = string.match(text, LINES)
  return { id = id, state = state, worker = worker, attempt = attempt, proxy = proxy, queued_at = queued_at,
    assigned_at = assigned_at, started_at = started_at, browser = browser, browser_version = browser_version,
    playwright = playwright, name = name, labels = labels, token = token, client = client, rest = rest }
end

-- blank is a session of which only the id is known.
local function blank(id)
  return { id = id, state = '', worker = '', attempt = '0', proxy = '', queued_at = '', assigned_at = '', started_at = '',
    browser = '', browser_version = '', playwright = '', name = '', labels = '', token = '', client = '', rest = '' }
end

-- record writes S, one that is over only for a while (age, in ms), and returns what it wrote.
local function record(S, age)
  local text = S.state .. '\n' .. S.worker .. '\n' .. S.attempt .. '\n' .. S.proxy .. '\n' .. S.queued_at .. '\n' ..
    S.assigned_at .. '\n' .. S.started_at .. '\n' .. S.browser .. '\n' .. S.browser_version .. '\n' .. S.playwright .. '\n' ..
    S.name .. '\n' .. S.labels .. '\n' .. S.token .. '\n' .. S.client .. '\n' .. S.rest
  if age then
    call('SET', P .. 'session:' .. S.id, text, 'PX', age)
  else
    call('SET', P .. 'session:' .. S.id, text)
  end
  return text
end

-- ticket reads what only matters while S waits, or may wait again.
local function ticket(S)
  if not S.class then S.seq, S.class, S.demand = string.match(S.rest, '^([^\n]*)\n([^\n]*)\n(.*)$') end
end

-- served_since is the number of the heartbeat that an active session started under.
local function served_since(S) return tonumber(string.match(S.rest, '\n(.*)$')) end

-- noted is the nonce of an active session, or why one is over.
local function noted(S) return string.match(S.rest, '^[^\n]*') end

-- span is the ms from one time to another; two clocks may have told them.
local function span(from, to)
  if from == to then return '0' end
  return int(math.max(0, to - from))
end

-- optional puts a name and its value before others, unless the value is empty.
local function optional(name, value, ...)
  if value == '' then return ... end
  return name, value, ...
end

-- session_event takes the names and values that are special to its kind. What is empty of S is left out. Without tables:
-- with one, events took a third of what Lua does for a session.
local function session_event(kind, S, ...)
  local id, more = S.id .. ':' .. kind .. ':' .. S.attempt, S.state ~= 'ended' and S.state ~= 'rejected'
  -- All but those that wait have these.
  if S.worker ~= '' and S.browser_version ~= '' and S.playwright ~= '' and S.client ~= '' then
    return emit(kind, id, more, 'session', S.id, 'proxy', S.proxy, 'attempt', S.attempt, 'worker', S.worker, 'browser', S.browser,
      'browser_version', S.browser_version, 'playwright', S.playwright, 'client', S.client,
      optional('name', S.name, optional('labels', S.labels, optional('token', S.token, ...))))
  end
  emit(kind, id, more, 'session', S.id, 'proxy', S.proxy, 'attempt', S.attempt, optional('worker', S.worker,
    optional('browser', S.browser, optional('browser_version', S.browser_version, optional('playwright', S.playwright,
    optional('client', S.client, optional('name', S.name, optional('labels', S.labels, optional('token', S.token, ...)))))))))
end
