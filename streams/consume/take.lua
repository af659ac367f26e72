-- take hands the next entries of a group to one of its consumers. Before that it looks
-- whether the log was trimmed past the group, and if so moves the group behind the gap,
-- with a right count: Redis would go on counting from before it. In one script, because
-- another consumer may move the group between a look and a read.
-- KEYS  1 stream
-- ARGV  1 group  2 consumer  3 entries at most
-- reply {missing, after, next, removed, entries}; missing is '' for no gap and '-1' when nobody
--       can tell how many, next is the oldest entry or '' when the stream is empty, removed is how
--       many went before it or '' when nobody can tell, entries as XREADGROUP or nil
local key, group = KEYS[1], ARGV[1]

local function record(flat)
  local r = {}
  for i = 1, #flat, 2 do r[flat[i]] = flat[i + 1] end
  return r
end

local function split(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), seq
end

-- Sequence numbers can be too long for a Lua number.
local function before(a, b)
  local am, as = split(a)
  local bm, bs = split(b)
  if am ~= bm then return am < bm end
  if #as ~= #bs then return #as < #bs end
  return as < bs
end

local function previous(id)
  local ms, seq = split(id)
  if seq == '0' then return string.format('%.0f-18446744073709551615', ms - 1) end
  if tonumber(seq) > 2 ^ 53 then return id end
  return string.format('%.0f-%.0f', ms, tonumber(seq) - 1)
end

local info = redis.pcall('XINFO', 'STREAM', key)
if info.err then return redis.error_reply('NOGROUP there is no ' .. key) end
info = record(info)
local g
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local r = record(flat)
  if r.name == group then g = r end
end
if not g then return redis.error_reply('NOGROUP there is no group ' .. group .. ' of ' .. key) end

local after, last, first = g['last-delivered-id'], info['last-generated-id'], ''
if info.length > 0 then first = info['first-entry'][1] end
local removed
if info['entries-added'] and info['max-deleted-entry-id'] == '0-0' then
  removed = info['entries-added'] - info.length
end

local missing = ''
if before(after, last) and (first == '' or before(after, first)) then
  if removed and g['entries-read'] then
    if removed > g['entries-read'] then missing = string.format('%.0f', removed - g['entries-read']) end
  elseif after ~= '0-0' and removed ~= 0 then
    missing = '-1'
  end
end
if missing ~= '' then
  local id = (first == '') and last or previous(first)
  if removed then
    redis.call('XGROUP', 'SETID', key, group, id, 'ENTRIESREAD', string.format('%.0f', removed))
  else
    redis.call('XGROUP', 'SETID', key, group, id)
  end
end

return { missing, after, first, removed and string.format('%.0f', removed) or '',
  redis.call('XREADGROUP', 'GROUP', group, ARGV[2], 'COUNT', ARGV[3], 'STREAMS', key, '>') }
