--@ base
-- release takes the slot of an assigned session that did not start away from it.
local function release(S)
  call('SREM', P .. 'held:' .. S.worker, S.id)
  call('ZREM', P .. 'leases', S.id)
  if call('ZSCORE', P .. 'served', S.worker) then call('ZINCRBY', P .. 'served', -1, S.worker) end
end
