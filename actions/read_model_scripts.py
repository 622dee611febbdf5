"""The read model's steps as Lua scripts: Redis runs each as a whole or not at all (see `actions/read_model.py`)."""

# KEYS: positions, filling, lock, then those that are deleted · ARGV: partitions · where each goes on; one that there was no
# position of begins to fill
BEGIN = """
if redis.call('EXISTS', KEYS[3]) == 1 then return -2 end
for i = 4, #KEYS do redis.call('DEL', KEYS[i]) end
for _, partition in ipairs(ARGV) do
  if redis.call('HSETNX', KEYS[1], partition, 0) == 1 then redis.call('SADD', KEYS[2], partition) end
end
local found = {}
for i, partition in ipairs(ARGV) do found[i] = redis.call('HGET', KEYS[1], partition) end
return found
"""
# KEYS: positions, lock, sizes, then one of each write · ARGV: partition, start, end; in msgpack, each write's op and
# arguments; those of a contact begin with the key that is there when it is gone; those of a membership: field, key of the
# segment's members, segment, entry or '', and the record where there is one
APPLY = """
local function list(members, segment, entry, is_in)
  if entry == '' then return end
  if is_in then
    if redis.call('ZADD', members, 0, entry) == 1 then redis.call('HINCRBY', KEYS[3], segment, 1) end
  elseif redis.call('ZREM', members, entry) == 1 and redis.call('HINCRBY', KEYS[3], segment, -1) == 0 then
    redis.call('HDEL', KEYS[3], segment)
  end
end
if redis.call('EXISTS', KEYS[2]) == 1 then return -2 end
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local told, n = cmsgpack.unpack(ARGV[4]), 1
for i = 4, #KEYS do
  local key, op, a = KEYS[i], told[n], n + 1
  if op == 'contact' then
    redis.call('DEL', told[a])
    if redis.call('HDEL', key, 'gone') == 1 then redis.call('PERSIST', key) end -- an earlier version's mark
    redis.call(
      'HSET', key, 'traits', told[a + 1], 'consent', told[a + 2], 'revision', told[a + 3], 'changed_at', told[a + 4]
    )
    n = a + 5
  elseif op == 'gone' then
    redis.call('DEL', key)
    redis.call('SET', told[a], 1, 'PX', told[a + 1])
    n = a + 2
  elseif op == 'member' or op == 'former' then
    list(told[a + 1], told[a + 2], told[a + 3], op == 'member')
    redis.call('HSET', key, told[a], told[a + 4])
    n = a + 5
  elseif op == 'no_member' then
    list(told[a + 1], told[a + 2], told[a + 3], false)
    redis.call('HDEL', key, told[a])
    n = a + 4
  else
    -- by the time of the events: those of one address may come by several partitions, a suppression counts first
    local at = string.match(redis.call('GET', key) or '', '^(%-?%d+) ')
    local since, now = at and tonumber(at) or -math.huge, tonumber(told[a])
    if now > since or (now == since and told[a + 1] ~= '') then redis.call('SET', key, told[a] .. ' ' .. told[a + 1]) end
    n = a + 2
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""
# KEYS: positions, filling, contact, memberships, suppressed, gone · ARGV: segment of `while` or '', '1' for traits,
# then the memberships of what ends its sequence
FACTS = """
local ready = 0
if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('EXISTS', KEYS[2]) == 0 then ready = 1 end
local contact = redis.call('HMGET', KEYS[3], 'revision', 'consent')
local traits, membership, endings = false, false, {}
if ARGV[2] == '1' then traits = redis.call('HGET', KEYS[3], 'traits') end
if ARGV[1] ~= '' then membership = redis.call('HGET', KEYS[4], ARGV[1]) end
if #ARGV > 2 then endings = redis.call('HMGET', KEYS[4], unpack(ARGV, 3)) end
local gone = redis.call('EXISTS', KEYS[6])
return {ready, contact[1], contact[2], gone, traits, membership, redis.call('GET', KEYS[5]), endings}
"""
# KEYS: positions, filling, then one of each question · ARGV: a partition · in msgpack, each question's command and arguments
ASK = """
local began, filling = redis.call('HEXISTS', KEYS[1], ARGV[1]), redis.call('SCARD', KEYS[2])
local found = {}
for i, told in ipairs(cmsgpack.unpack(ARGV[2])) do found[i] = redis.call(told[1], KEYS[i + 2], unpack(told, 2)) end
return {began, filling, cmsgpack.pack(found)}
"""
