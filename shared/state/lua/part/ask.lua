--@ fits choose place queue standing token purge
-- reject keeps a record, so that the same call made again is answered the same.
local function reject(S, reason)
  S.state, S.rest = 'rejected', reason .. '\n'
  record(S, REJECTED_AGE)
  session_event('session.rejected', S, 'reason', reason, 'queued_ms', '0')
  return { 'rejected', reason }
end

-- exhausted tells whether a token has as many sessions as it may have.
local function exhausted(token, most)
  local key = P .. 'token:' .. token
  return call('ZCARD', key) >= most and (not purge(token) or call('ZCARD', key) >= most)
end

-- ask gives a session a slot of a least-loaded fitting worker, or queues it, and returns where it stands.
-- One with an id that is known it only tells where that is: the reply of the first call may have been lost,
-- and a cancel may have overtaken it.
local function ask(id, proxy, class, demand, browser, playwright, name, labels, token, client, limit, again, most, most_waiting)
  if call('EXISTS', P .. 'session:' .. id) == 1 then return standing(session(id)) end

  local S = { id = id, proxy = proxy, class = class, demand = demand, browser = browser, playwright = playwright,
    name = name, labels = labels, token = token, client = client, attempt = '0', worker = '', queued_at = TIME,
    assigned_at = '', started_at = '', browser_version = '', state = '', rest = '', seq = '', endpoint = false }

  again, most, most_waiting = again == '1', tonumber(most), tonumber(most_waiting)
  if most > 0 and not again and exhausted(token, most) then return reject(S, 'token_limit') end

  local list = fits(class, demand)
  local W = choose(list)
  if not W and not again then
    -- While the data set is young, workers may still be on their way back to it.
    local young = math.abs(NOW - string.match(EPOCH, '^%d+')) < LEASE
    if list == ',' and not young then
      -- Waiting cannot help while the fleet has that browser only in another form.
      local others = { 'refused', 'no_match' }
      local flavours = call('HGETALL', P .. 'flavours')
      for i = 1, #flavours, 2 do
        if cjson.decode(flavours[i + 1]).browser == S.browser and call('EXISTS', P .. 'members:' .. flavours[i]) == 1 then
          others[#others + 1] = flavours[i + 1]
        end
      end
      if #others > 2 then return others end
    end
    S.listed = call('HEXISTS', P .. 'classes', S.class) == 1
    if not S.listed and call('HLEN', P .. 'classes') >= MAX_CLASSES then return { 'refused', 'too_many_classes' } end
    S.waiting = call('ZCARD', P .. 'waiting') + 1
    if S.waiting > tonumber(limit) then return reject(S, 'queue_full') end
    if most_waiting > 0 and call('ZCOUNT', P .. 'token:' .. S.token, '(0', '+inf') >= most_waiting then
      return reject(S, 'token_queue')
    end
  end

  S.seq = int(call('INCR', P .. 'seq'))
  call('SADD', P .. 'owned:' .. S.proxy, S.id)
  -- The reaper forgets a proxy once that owns nothing; it must find what this one has from now on.
  meet(S.proxy)
  S.rest = S.seq .. '\n' .. S.class .. '\n' .. S.demand
  if W then
    offer(W, place(S, W))
  else
    enqueue(S)
  end
  return standing(S)
end
