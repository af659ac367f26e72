--@ session
-- holders are the sessions that hold a slot of a worker, without those whose ids except has. One whose record has
-- vanished, be it evicted or deleted by hand, holds none: nobody could end it any more, and its slot would be lost.
local function holders(worker, except)
  local held, found = P .. 'held:' .. worker, {}
  for _, sid in ipairs(call('SMEMBERS', held)) do
    if not (except and except[sid]) then
      local S = session(sid)
      if S then
        found[#found + 1] = S
      else
        call('SREM', held, sid)
      end
    end
  end
  return found
end
