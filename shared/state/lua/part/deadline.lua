--@ base
-- next_deadline returns the ms until the first deadline of the pool, 0 when it has passed, -1
-- when there is none.
local function next_deadline()
  local first
  for _, name in ipairs({ 'workers', 'proxies', 'leases', 'fading' }) do
    local head = call('ZRANGE', P .. name, 0, 0, 'WITHSCORES')
    if head[1] and (not first or tonumber(head[2]) < first) then first = tonumber(head[2]) end
  end
  if not first then return '-1' end
  return int(math.max(0, first - NOW))
end
