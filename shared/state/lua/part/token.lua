--@ base
-- What a token has: a zset of its sessions that have not ended. The score is 0 for one that holds
-- a slot and the place in the queue for one that waits. The size is what a limit is held
-- against, so there is no counter that could leak, and an empty zset goes by itself.
local function charge(S, score)
  if S.token ~= '' then call('ZADD', P .. 'token:' .. S.token, score, S.id) end
end

-- purge looks whether some of a token's sessions have vanished, be they evicted or deleted by hand: nobody ends them
-- any more. It looks at a few of many, since who is at the limit may ask often.
local function purge(token)
  local key, some = P .. 'token:' .. token, false
  for _, sid in ipairs(call('ZRANDMEMBER', key, 4)) do
    if call('EXISTS', P .. 'session:' .. sid) == 0 and call('ZREM', key, sid) == 1 then some = true end
  end
  return some
end

local function discharge(S)
  if S.token ~= '' then call('ZREM', P .. 'token:' .. S.token, S.id) end
end
