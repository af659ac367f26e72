--@ dispatch choose
-- sweep serves every ticket that a free slot fits: what a dispatch that met too many tickets
-- of dead proxies left undone.
local function sweep()
  local classes = call('HGETALL', P .. 'classes')
  for i = 1, #classes, 2 do
    local W = choose(fits(classes[i], classes[i + 1]))
    while W and call('EXISTS', P .. 'queue:' .. classes[i]) == 1 do
      dispatch(W)
      local other = choose(fits(classes[i], classes[i + 1]))
      if other and other.id == W.id then return end
      W = other
    end
  end
end
