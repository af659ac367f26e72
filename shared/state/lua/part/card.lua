--@ base
-- What a worker is to the scripts, in one field of its record. A text that was read before is known again, and
-- nothing need be made of it: what is kept here only says what the text in Redis says.
local cards, carded = {}, 0

-- draw has the record of W, and its card, say what W is now. more are fields that only others read.
local function draw(W, ...)
  -- In this order, so that a call which fails here leaves nothing that another one would believe.
  W.card = cmsgpack.pack({ W.state, W.flavour, W.slots, W.lifetime, W.endpoint, W.browser, W.browser_version, W.playwright })
  call('HSET', P .. 'worker:' .. W.id, 'card', W.card, 'state', W.state, 'lifetime', W.lifetime, ...)
end

-- worker returns what is known of a worker, or nil. Who changes it must draw it.
local function worker(id)
  local card = id ~= '' and call('HGET', P .. 'worker:' .. id, 'card')
  if not card then return nil end
  local W = cards[id]
  if W and W.card == card then return W end
  if not W then carded = carded + 1 end
  if carded > CARDS_KEPT then cards, carded = {}, 1 end
  local v = cmsgpack.unpack(card)
  W = { id = id, card = card, state = v[1], flavour = v[2], slots = v[3], lifetime = v[4], endpoint = v[5], browser = v[6],
    browser_version = v[7], playwright = v[8] }
  cards[id] = W
  return W
end
