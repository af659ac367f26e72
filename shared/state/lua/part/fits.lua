-- Which flavours fit a demand. A demand is a JSON object {browser, playwright, isolation,
-- require}; an absent or empty field asks for nothing.
local function matches(flavour, demand)
  if demand.browser ~= flavour.browser then return false end
  if demand.playwright and demand.playwright ~= '' and demand.playwright ~= flavour.playwright then return false end
  if demand.isolation and demand.isolation ~= '' then
    local found = false
    for _, mode in ipairs(flavour.isolation or {}) do
      if mode == demand.isolation then found = true end
    end
    if not found then return false end
  end
  if demand.require then
    local labels = flavour.labels or {}
    for k, v in pairs(demand.require) do
      if labels[k] ~= v then return false end
    end
  end
  return true
end

-- fits returns the flavours for a class of demand as ',a,b,' (',' when none does).
-- The answer is kept: decoding fifty flavours would cost more than the rest of acquire.
local function fits(class, demand)
  local known = call('HGET', P .. 'fits', class)
  if known then return known end
  local want, list = cjson.decode(demand), ','
  local flavours = call('HGETALL', P .. 'flavours')
  for i = 1, #flavours, 2 do
    if matches(cjson.decode(flavours[i + 1]), want) then list = list .. flavours[i] .. ',' end
  end
  if call('HLEN', P .. 'fits') >= 512 then call('DEL', P .. 'fits') end
  call('HSET', P .. 'fits', class, list)
  return list
end
