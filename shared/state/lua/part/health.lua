--@ card
-- What a worker is for placement, the revision of its last change, and the events that tell.
-- revise makes a new revision of the fleet.
local function revise()
  REV = int(REV + 1)
  keep()
end

local function changed(id)
  revise()
  call('ZADD', P .. 'changed', REV, id)
end

-- worker_event takes what is special to its kind as a flat list of names and values, of which
-- the empty ones are left out.
local function worker_event(kind, W, number, special)
  local f = { 'worker', W.id, 'number', number }
  local all = { 'browser', W.browser, 'browser_version', W.browser_version, 'playwright', W.playwright, unpack(special) }
  for i = 1, #all, 2 do
    if all[i + 1] ~= '' then
      f[#f + 1] = all[i]
      f[#f + 1] = all[i + 1]
    end
  end
  emit(kind, W.id .. ':' .. kind .. ':' .. number, false, unpack(f))
end

-- set_state changes what a worker is, for a reason that may be ''. Retiring is for good.
local function set_state(W, state, number, reason)
  if W.state == state or W.state == 'retiring' then return end
  if W.state == 'ready' then call('ZREM', P .. 'parting', W.id) end
  W.state = state
  if state == 'retiring' then call('ZADD', P .. 'retiring', TIME, W.id) end
  draw(W)
  changed(W.id)
  worker_event('worker.' .. state, W, number, { 'reason', reason })
end
