--@ base
-- next_deadline returns the ms until the first deadline of the pool, 0 when it has passed, -1
-- when there is none.
local function next_deadline()
  local first
  for name, lease in pairs({ workers = LEASE, proxies = LEASE, leases = START_LEASE, fading = FADE }) do
    local head = call('ZRANGE', P .. name, 0, 0, 'WITHSCORES')
    local till = head[1] and math.max(tonumber(head[2]), RESUMED + lease)
    if till and (not first or till < first) then first = till end
  end
  if not first then return '-1' end
  return int(math.ceil(math.max(0, first - NOW)))
end
