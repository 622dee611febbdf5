"""The catalogue's steps as Lua scripts: Redis runs each as a whole or not at all (see `streams/fields_store.py`)."""

# KEYS: positions, lock, fields, left out · ARGV: stem of samples, of contacts' samples, of marks of those that are forgotten;
# most fields, most sources of one; ms that a sample is kept; in msgpack, lists of {partition, start, end},
# {contact, at or -1}, {field, {{source, type, at}, ...}}, {field, text, at, contact}, and of fields that are left out
APPLY = """
if redis.call('EXISTS', KEYS[2]) == 1 then return -2 end
local moves, forgotten, seen, samples, left_out = unpack(cmsgpack.unpack(ARGV[7]))
for _, move in ipairs(moves) do
  if redis.call('HGET', KEYS[1], move[1]) ~= move[2] then return 0 end
end
for _, each in ipairs(forgotten) do
  local contact, at = each[1], each[2]
  for _, field in ipairs(redis.call('SMEMBERS', ARGV[2] .. contact)) do
    local kept = redis.call('GET', ARGV[1] .. field)
    if kept and string.sub(kept, 1, #contact) == contact then redis.call('DEL', ARGV[1] .. field) end
  end
  redis.call('DEL', ARGV[2] .. contact)
  local mark = ARGV[3] .. contact
  if at > tonumber(redis.call('GET', mark) or -1) then redis.call('SET', mark, at, 'PX', ARGV[6]) end
end
local count, most, sources_most = redis.call('HLEN', KEYS[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
for _, each in ipairs(seen) do
  local field, found = each[1], redis.call('HGET', KEYS[3], each[1])
  if not found and count >= most then
    redis.call('PFADD', KEYS[4], field)
  else
    local sources, many, changed = {}, 0, false
    if found then sources = cmsgpack.unpack(found) else count = count + 1 end
    for _ in pairs(sources) do many = many + 1 end
    for _, told in ipairs(each[2]) do
      local source, kind, at = told[1], told[2], told[3]
      if not sources[source] and many >= sources_most then source = 'other' end
      if not sources[source] then
        sources[source] = {}
        many = many + 1
      end
      if at > (sources[source][kind] or -1) then
        sources[source][kind] = at
        changed = true
      end
    end
    if changed then redis.call('HSET', KEYS[3], field, cmsgpack.pack(sources)) end
  end
end
for _, each in ipairs(samples) do
  local field, text, at, contact = each[1], each[2], each[3], each[4]
  local key = ARGV[1] .. field
  if redis.call('HEXISTS', KEYS[3], field) == 1 and redis.call('EXISTS', key) == 0
    and at > tonumber(redis.call('GET', ARGV[3] .. contact) or -1) then
    redis.call('SET', key, contact .. text, 'PX', ARGV[6])
    redis.call('SADD', ARGV[2] .. contact, field)
    redis.call('PEXPIRE', ARGV[2] .. contact, ARGV[6])
  end
end
for _, field in ipairs(left_out) do redis.call('PFADD', KEYS[4], field) end
for _, move in ipairs(moves) do redis.call('HSET', KEYS[1], move[1], move[3]) end
return 1
"""
