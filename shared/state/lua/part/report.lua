--@ session finish
-- report ends active sessions as their worker or their proxy saw it; each sees the
-- connection. records is a JSON array of {session, reason, age, bytes_up, ..., sent}. What is
-- ended already stays as it is. Returns the workers whose slots came free.
-- A call can wait for long in front of a Redis that stands still, and be the first to tell; its
-- ages are of when it was sent. Too long is no wait but another clock, after a failover.
local WAIT_MIN, WAIT_MAX = 100, 600000
local function report(by, who, records)
  local freed = {}
  if records == '' then return freed end
  for _, R in ipairs(cjson.decode(records)) do
    local S = session(R.session)
    if S and S.state == 'active' and S[by] == who then
      local waited = NOW - (R.sent or NOW)
      if waited > WAIT_MIN and waited < WAIT_MAX then R.age = R.age + waited end
      finish(S, R.reason, R)
      freed[S.worker] = true
    end
  end
  return freed
end
