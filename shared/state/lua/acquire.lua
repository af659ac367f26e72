--@ fits choose place queue standing token purge
-- acquire gives a session a slot of a least-loaded fitting worker, or queues it, in one step.
-- Called again with an id that is known, it tells where that session is: the reply of the
-- first call may have been lost, and a cancel may have overtaken it.
-- ARGV  1 session  2 proxy  3 class  4 demand (JSON)  5 browser  6 playwright  7 name
--       8 labels (JSON)  9 token name  10 client address  11 queue limit
--       12 '1' when a proxy brings its waiting clients back after a reset: no limit, no refusal
--       13 most sessions of the token, waiting ones included  14 most of them that wait; 0 = no limit
-- reply {epoch, rev, 'assigned'|'active', worker, endpoint, attempt, browser version, playwright}
--       {epoch, rev, 'queued', place in its class, waiting in the pool, how often it was placed before}
--       {epoch, rev, 'ended'|'rejected', reason}
--       {epoch, rev, 'refused', code, flavour JSON of that browser ...}
if call('EXISTS', P .. 'session:' .. ARGV[1]) == 1 then return standing(session(ARGV[1])) end

local S = { id = ARGV[1], proxy = ARGV[2], class = ARGV[3], demand = ARGV[4], browser = ARGV[5], playwright = ARGV[6],
  name = ARGV[7], labels = ARGV[8], token = ARGV[9], client = ARGV[10], attempt = '0', worker = '', queued_at = TIME,
  assigned_at = '', started_at = '', browser_version = '', state = '', rest = '', seq = '', endpoint = false }

-- reject keeps a record, so that the same call made again is answered the same.
local function reject(reason)
  S.state, S.rest = 'rejected', reason .. '\n'
  record(S, REJECTED_AGE)
  session_event('session.rejected', S, 'reason', reason, 'queued_ms', '0')
  return { EPOCH, REV, 'rejected', reason }
end

local again = ARGV[12] == '1'
local most, most_waiting = tonumber(ARGV[13]), tonumber(ARGV[14])
local function exhausted() return call('ZCARD', P .. 'token:' .. S.token) >= most end
if most > 0 and not again and exhausted() and (not purge(S.token) or exhausted()) then return reject('token_limit') end

local list = fits(S.class, S.demand)
local W = choose(list)

if not W and not again then
  -- While the data set is young, workers may still be on their way back to it.
  local young = math.abs(NOW - string.match(EPOCH, '^%d+')) < LEASE
  if list == ',' and not young then
    -- Waiting cannot help while the fleet has that browser only in another form.
    local others = {}
    local flavours = call('HGETALL', P .. 'flavours')
    for i = 1, #flavours, 2 do
      if cjson.decode(flavours[i + 1]).browser == S.browser and call('EXISTS', P .. 'members:' .. flavours[i]) == 1 then
        others[#others + 1] = flavours[i + 1]
      end
    end
    if #others > 0 then return { EPOCH, REV, 'refused', 'no_match', unpack(others) } end
  end
  S.listed = call('HEXISTS', P .. 'classes', S.class) == 1
  if not S.listed and call('HLEN', P .. 'classes') >= MAX_CLASSES then
    return { EPOCH, REV, 'refused', 'too_many_classes' }
  end
  S.waiting = call('ZCARD', P .. 'waiting') + 1
  if S.waiting > tonumber(ARGV[11]) then return reject('queue_full') end
  if most_waiting > 0 and call('ZCOUNT', P .. 'token:' .. S.token, '(0', '+inf') >= most_waiting then
    return reject('token_queue')
  end
end

S.seq = int(call('INCR', P .. 'seq'))
call('SADD', P .. 'owned:' .. S.proxy, S.id)
-- The reaper forgets a proxy once that owns nothing; it must find what this one has from now on.
if call('SCARD', P .. 'owned:' .. S.proxy) == 1 then meet(S.proxy) end
S.rest = S.seq .. '\n' .. S.class .. '\n' .. S.demand
if W then
  offer(W, place(S, W))
else
  enqueue(S)
end
return standing(S)
