--@ base
-- The record of a worker, and where acquire looks for it.
local function worker(id)
  if id == '' then return nil end
  local v = call('HMGET', P .. 'worker:' .. id, 'state', 'flavour', 'slots', 'lifetime', 'endpoint', 'browser',
    'browser_version', 'playwright')
  if not v[1] then return nil end
  return { id = id, state = v[1], flavour = v[2], slots = v[3], lifetime = v[4], endpoint = v[5], browser = v[6],
    browser_version = v[7], playwright = v[8] }
end

-- rank notes how much the least-loaded free worker of a flavour has to do, so that acquire need
-- not look at every flavour.
local function rank(flavour)
  local head = call('ZRANGE', P .. 'free:' .. flavour, 0, 0, 'WITHSCORES')
  if head[1] then
    call('ZADD', P .. 'least', head[2], flavour)
  else
    call('ZREM', P .. 'least', flavour)
  end
end

-- withdraw takes a worker away from where acquire looks for it.
local function withdraw(id, flavour)
  if call('ZREM', P .. 'free:' .. flavour, id) == 1 then rank(flavour) end
end

-- offer puts a worker where acquire looks for it, or takes it away from there, and returns
-- its capacity. served may be given by who has just read it.
local function offer(W, served)
  local capacity, held = 0, 0
  if W.state == 'ready' then
    held = call('SCARD', P .. 'held:' .. W.id)
    capacity = W.slots - held
    local lifetime = tonumber(W.lifetime)
    if lifetime > 0 then
      capacity = math.min(capacity, lifetime - (served or call('ZSCORE', P .. 'served', W.id) or 0))
    end
  end
  if capacity > 0 then
    if call('ZADD', P .. 'free:' .. W.flavour, 'CH', held, W.id) == 1 then rank(W.flavour) end
  else
    withdraw(W.id, W.flavour)
  end
  return capacity
end
