--@ base
-- purge looks whether some of a token's sessions have vanished, be they evicted or deleted by hand: nobody ends them
-- any more. It looks at a few of many, since who is at the limit may ask often.
local function purge(token)
  local key, some = P .. 'token:' .. token, false
  for _, sid in ipairs(call('ZRANDMEMBER', key, 4)) do
    if call('EXISTS', P .. 'session:' .. sid) == 0 and call('ZREM', key, sid) == 1 then some = true end
  end
  return some
end
