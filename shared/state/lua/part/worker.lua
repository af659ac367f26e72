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
    call('ZADD', P .. 'free:' .. W.flavour, held, W.id)
  else
    call('ZREM', P .. 'free:' .. W.flavour, W.id)
  end
  return capacity
end
