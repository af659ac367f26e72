--@ health
-- Where acquire looks for a worker. P:free:<flavour> has those with capacity and their load. P:least has each flavour
-- that has such, and a load that none of them is under: it goes down with them at once, and up when choose looks.

-- withdraw takes a worker away from where acquire looks for it.
local function withdraw(id, flavour)
  local free = P .. 'free:' .. flavour
  if call('ZREM', free, id) == 1 and call('EXISTS', free) == 0 then call('ZREM', P .. 'least', flavour) end
end

-- may_go tells whether a worker may come to the end of its lifetime: when no other one of its
-- flavour is on its way out or back, or while four fifths of the flavour stay. Parting and
-- retiring ones are on their way out; those due are on their way back. It is asked about once
-- in a round of a worker's slots, so the keys that it needs are not declared in every call.
local function may_go(W)
  local members, due = P .. 'members:' .. W.flavour, 0
  for _, place in ipairs(call('ZRANGEBYSCORE', P .. 'recycling', judged(FADE) and TIME or '-inf', '+inf')) do
    if string.sub(place, 1, #W.flavour + 1) == W.flavour .. '|' then due = due + 1 end
  end
  local others = due + call('ZINTERCARD', 2, P .. 'retiring', members) + call('ZINTERCARD', 2, P .. 'parting', members)
  if call('ZSCORE', P .. 'parting', W.id) then others = others - 1 end
  return others == 0 or (others + 1) * 5 <= call('SCARD', members) + due
end

-- prolong has a worker serve on for another round of its slots.
local function prolong(W, served)
  W.lifetime = int(math.max(served, tonumber(W.lifetime)) + W.slots)
  draw(W)
  call('ZREM', P .. 'parting', W.id)
  changed(W.id)
end

-- parts tells whether a worker whose lifetime leaves it fewer sessions than it has slots free
-- comes to its end. That is agreed on here, before the slots are missing, and not when it
-- asks to retire: all workers of a fleet can be so far at the same time.
local function parts(W, served)
  if call('ZSCORE', P .. 'parting', W.id) then return true end
  if may_go(W) then
    call('ZADD', P .. 'parting', TIME, W.id)
    return true
  end
  prolong(W, served)
  return false
end

-- room returns the capacity of a worker and its load, as acquire compares it. served may be
-- given by who has just read it. Among workers of one load a parting one comes first, so that
-- it is not left on the way out for want of clients.
local function room(W, served)
  if W.state ~= 'ready' then return 0, 0 end
  local load = call('SCARD', P .. 'held:' .. W.id)
  local capacity = W.slots - load
  if tonumber(W.lifetime) > 0 then
    served = tonumber(served or call('GET', P .. 'served:' .. W.id) or '0')
    local left = W.lifetime - served
    if left < capacity and parts(W, served) then return left, load - 0.5 end
  end
  return capacity, load
end

-- show puts a worker where acquire looks for it, or takes it away from there. grown says that it was shown there
-- with a smaller load.
local function show(W, capacity, load, grown)
  if load % 1 == 0 then load = int(load) end -- cheaper for Redis to read
  if capacity <= 0 then
    withdraw(W.id, W.flavour)
  elseif call('ZADD', P .. 'free:' .. W.flavour, 'CH', load, W.id) == 1 and not grown then
    call('ZADD', P .. 'least', 'LT', load, W.flavour)
  end
end

-- offer shows what is left of a worker's capacity, to which served is given by who has just placed a session.
local function offer(W, served)
  local capacity, load = room(W, served)
  show(W, capacity, load, served)
end
