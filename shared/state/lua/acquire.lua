--@ ask
-- acquire asks for slots, for one session after another.
-- ARGV  for each, 14:
--       1 session  2 proxy  3 class  4 demand (JSON)  5 browser  6 playwright  7 name
--       8 labels (JSON)  9 token name  10 client address  11 queue limit
--       12 '1' when a proxy brings its waiting clients back after a reset: no limit, no refusal
--       13 most sessions of the token, waiting ones included  14 most of them that wait; 0 = no limit
-- reply {epoch, rev, and for each the number of fields that say where it stands, and these:}
--       'assigned'|'active', worker, endpoint, attempt, browser version, playwright
--       'queued', place in its class, waiting in the pool, how often it was placed before
--       'ended'|'rejected', reason
--       'refused', code, flavour JSON of that browser ...
local reply, n = { EPOCH }, 2
for first = 1, #ARGV, 14 do
  local fields = ask(unpack(ARGV, first, first + 13))
  n = n + 1
  reply[n] = int(#fields)
  for _, field in ipairs(fields) do
    n = n + 1
    reply[n] = field
  end
end
reply[2] = REV -- it may have gone up
return reply
