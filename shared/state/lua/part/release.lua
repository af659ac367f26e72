--@ base
-- release takes the slot of an assigned session that did not start away from it.
local function release(S)
  call('SREM', P .. 'held:' .. S.worker, S.id)
  call('ZREM', P .. 'leases', S.id)
  local served = P .. 'served:' .. S.worker
  if call('EXISTS', served) == 1 then call('DECR', served) end
end
