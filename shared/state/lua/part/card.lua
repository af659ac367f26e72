--@ base
-- What a worker is to the scripts, in one field of its record. What is kept of it here holds as long as the
-- revision at which it was read, which goes up with every change of any worker; then the text is read again, and
-- known again if it is the same. Where a Redis gets its data from another one, it gets these functions too, and
-- nothing is kept.
local cards, carded = {}, 0

-- draw has the record of W, and its card, say what W is now. more are fields that only others read.
local function draw(W, ...)
  -- In this order, so that a call which fails here leaves nothing that another one would believe.
  W.card = cmsgpack.pack({ W.state, W.flavour, W.slots, W.lifetime, W.endpoint, W.browser, W.browser_version, W.playwright })
  call('HSET', P .. 'worker:' .. W.id, 'card', W.card, 'state', W.state, 'lifetime', W.lifetime, ...)
end

-- worker returns what is known of a worker, or nil. Who changes it must draw it. Calls by the worker itself
-- look (sure), so that it learns with its next heartbeat when somebody has taken its record away.
local function worker(id, sure)
  local W = cards[id]
  if W and W.rev == REV and W.epoch == EPOCH and not sure then return W end
  local card = id ~= '' and call('HGET', P .. 'worker:' .. id, 'card')
  if not card then
    if W then cards[id], carded = nil, carded - 1 end
    return nil
  end
  if W and W.card == card then
    if W.epoch ~= EPOCH then W.till = 0 end
    W.rev, W.epoch = REV, EPOCH
    return W
  end
  if not W then carded = carded + 1 end
  if carded > CARDS_KEPT then cards, carded = {}, 1 end
  local v = cmsgpack.unpack(card)
  W = { id = id, card = card, rev = REV, epoch = EPOCH, till = 0, resumed = RESUMED, state = v[1], flavour = v[2],
    slots = v[3], lifetime = v[4], endpoint = v[5], browser = v[6], browser_version = v[7], playwright = v[8] }
  cards[id] = W
  return W
end

-- serves tells whether a worker has not let its lease run out. Only time ends one, so it holds until then.
local function serves(W)
  if W.till > NOW and W.resumed == RESUMED then return true end
  local till = alive(P .. 'workers', W.id)
  W.till, W.resumed = till or 0, RESUMED
  return till
end
