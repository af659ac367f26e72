--@ session finish
-- report ends active sessions as their worker or their proxy saw it; each sees the
-- connection. records has eight lines for each: session, reason, age, what was counted, and when it was
-- sent or nothing. What is ended already stays as it is. Returns the workers whose slots came free, and whether
-- Redis has lost that one of them had started.
-- A call can wait for long in front of a Redis that stands still, and be the first to tell; its
-- ages are of when it was sent. Too long is no wait but another clock, after a failover.
local REPORT = LINE .. LINE .. LINE .. LINE .. LINE .. LINE .. LINE .. LINE
local WAIT_MIN, WAIT_MAX = 100, 600000
local function report(by, who, records)
  local freed, lost = {}, false
  for id, reason, age, bytes_up, bytes_down, messages_up, messages_down, sent in string.gmatch(records, REPORT) do
    local S = session(id)
    if S and S.state == 'active' and S[by] == who then
      local waited = (sent == '') and 0 or NOW - sent
      age = tonumber(age)
      if waited > WAIT_MIN and waited < WAIT_MAX then age = age + waited end
      finish(S, reason, { age = age, bytes_up = bytes_up, bytes_down = bytes_down, messages_up = messages_up,
        messages_down = messages_down })
      freed[S.worker] = true
    elseif S and not over(S) then
      lost = true
    end
  end
  return freed, lost
end
