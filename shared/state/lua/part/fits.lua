--@ base
-- fits returns the flavours for a class of demand as ',a,b,' (',' when none does). A demand is
-- a JSON object {browser, playwright, isolation, require}; an absent or empty field asks for
-- nothing. The answer is kept: decoding fifty flavours would cost more than the rest of acquire.
-- P:fits keeps it, and these what that says at one revision, since no flavour comes or goes without a new one.
local lists, listed, lists_epoch, lists_rev = {}, 0, '', ''
local function fits(class, demand)
  if lists_rev ~= REV or lists_epoch ~= EPOCH or listed > 512 then
    lists, listed, lists_epoch, lists_rev = {}, 0, EPOCH, REV
  end
  local known = lists[class]
  if known then return known end
  listed = listed + 1
  known = call('HGET', P .. 'fits', class)
  if known then
    lists[class] = known
    return known
  end

  local want, list = cjson.decode(demand), ','
  local function matches(flavour)
    if want.browser ~= flavour.browser then return false end
    if (want.playwright or '') ~= '' and want.playwright ~= flavour.playwright then return false end
    if (want.isolation or '') ~= '' then
      local found = false
      for _, mode in ipairs(flavour.isolation or {}) do
        if mode == want.isolation then found = true end
      end
      if not found then return false end
    end
    for k, v in pairs(want.require or {}) do
      if (flavour.labels or {})[k] ~= v then return false end
    end
    return true
  end
  local flavours = call('HGETALL', P .. 'flavours')
  for i = 1, #flavours, 2 do
    if matches(cjson.decode(flavours[i + 1])) then list = list .. flavours[i] .. ',' end
  end
  if call('HLEN', P .. 'fits') >= 512 then call('DEL', P .. 'fits') end
  call('HSET', P .. 'fits', class, list)
  lists[class] = list
  return list
end
