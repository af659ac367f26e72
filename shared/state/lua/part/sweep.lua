--@ dispatch
-- sweep has workers give what they owe: the slots that a dispatch which met too many tickets of
-- dead proxies left for the tickets behind them.
local function sweep()
  while true do
    local id = call('SPOP', P .. 'owing')
    if not id then return end
    local W = worker(id)
    if W and dispatch(W) then return end
  end
end
