--@ base
-- What a token has: a zset of its sessions that have not ended. The score is 0 for one that holds
-- a slot and the place in the queue for one that waits. The size is what a limit is held
-- against, so there is no counter that could leak, and an empty zset goes by itself.
local function charge(S, score)
  if S.token ~= '' then call('ZADD', P .. 'token:' .. S.token, score, S.id) end
end

local function discharge(S)
  if S.token ~= '' then call('ZREM', P .. 'token:' .. S.token, S.id) end
end
