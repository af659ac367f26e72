--@ session finish
-- report ends active sessions as their worker or their proxy saw it; each sees the
-- connection. records is a JSON array of {session, reason, age, bytes_up, ...}. What is ended
-- already stays as it is. Returns the workers whose slots came free.
local function report(by, who, records)
  local freed = {}
  if records == '' then return freed end
  for _, R in ipairs(cjson.decode(records)) do
    local S = session(R.session)
    if S and S.state == 'active' and S[by] == who then
      finish(S, R.reason, R)
      freed[S.worker] = true
    end
  end
  return freed
end
