"""The ledger's steps as Lua scripts: Redis runs each as a whole or not at all (see `actions/ledger.py`)."""

# every script but those of a rebuild begins with this
GUARD = """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('GET', KEYS[1]) ~= run then return redis.error_reply('UNSYNCED') end
"""
# KEYS: epoch, entry, body, parked set, open · ARGV: id, retry, delivery, score, take or park, ms to keep, owner
TAKE = """
local e = redis.call('HMGET', KEYS[2], 'retry', 'attempts', 'state', 'outcome', 'owner')
if e[3] == 'taken' and e[5] == ARGV[7] and e[1] == ARGV[2] then
  redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1])
  return {'new', tonumber(e[2]), ''}
end
if e[3] and not (e[3] == 'failed' and tonumber(ARGV[2]) > tonumber(e[1])) then
  return {e[3], tonumber(e[2]), e[4] or ''}
end
local attempts, state = 1, 'taken'
if ARGV[5] == 'park' then attempts, state = 0, 'waiting' end
redis.call('HSET', KEYS[2], 'retry', ARGV[2], 'attempts', attempts, 'state', state, 'owner', ARGV[7])
redis.call('HDEL', KEYS[2], 'outcome')
redis.call('PEXPIRE', KEYS[2], ARGV[6])
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[6])
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1])
redis.call('SADD', KEYS[5], ARGV[1])
redis.call('PEXPIRE', KEYS[5], ARGV[6])
return {'new', attempts, ''}
"""
# KEYS: epoch, due · ARGV: now, lease ends, how many, stem of entries, stem of bodies
CLAIM = """
local claimed = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  local body, e = redis.call('GET', ARGV[5] .. id), redis.call('HMGET', ARGV[4] .. id, 'state', 'attempts')
  if body and (e[1] == 'taken' or e[1] == 'waiting') then
    redis.call('ZADD', KEYS[2], ARGV[2], id)
    redis.call('HSET', ARGV[4] .. id, 'owner', '')
    claimed[#claimed + 1] = {body, tonumber(e[2]), e[1]}
  else
    redis.call('ZREM', KEYS[2], id)
  end
end
return claimed
"""
# KEYS: epoch, entry, due · ARGV: id, retry, attempts and state as claimed, lease ends
BEGIN = """
local e = redis.call('HMGET', KEYS[2], 'retry', 'attempts', 'state')
if e[1] ~= ARGV[2] or e[2] ~= ARGV[3] or e[3] ~= ARGV[4] then return 0 end
redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1])
redis.call('HSET', KEYS[2], 'state', 'taken', 'owner', '')
return redis.call('HINCRBY', KEYS[2], 'attempts', 1)
"""
# KEYS: epoch, due, parked set · ARGV: id, score
PUT_BACK = """
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
"""
# KEYS: epoch or lock, entry, body, due, parked set, caps, open · ARGV: id, retry, attempts, state, outcome, delivery, due, ms to
# keep, not before (0, or of a rebuild), '1' where in doubt, what caps count ('' for nothing), when, ms to keep that
RECORD = """
local e = redis.call('HMGET', KEYS[2], 'retry', 'attempts', 'state')
if e[3] then
  local final = (e[3] == 'sent' or e[3] == 'failed' or e[3] == 'skipped') and 1 or 0
  local retry, attempts = tonumber(e[1]), tonumber(e[2])
  local r, n, f = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] ~= 'waiting' and 1 or 0
  if retry > r or (retry == r and (attempts > n or (attempts == n and final > f))) then return 0 end
  local known = e[3] == 'waiting' or ARGV[10] == '1'
  if ARGV[9] ~= '0' and f == 0 and retry == r and attempts == n and known then return 0 end
end
local state = ARGV[4]
if state == 'waiting' and ARGV[10] == '1' then
  state = 'taken'
  redis.call('HSET', KEYS[2], 'owner', '')
end
redis.call('HSET', KEYS[2], 'retry', ARGV[2], 'attempts', ARGV[3], 'state', state)
redis.call('PEXPIRE', KEYS[2], ARGV[8])
if ARGV[11] ~= '' then
  if ARGV[4] == 'sent' or ARGV[10] == '1' or (ARGV[4] == 'waiting' and ARGV[3] ~= '0') then
    redis.call('ZADD', KEYS[6], 'NX', ARGV[12], ARGV[11])
    redis.call('PEXPIRE', KEYS[6], ARGV[13])
  elseif ARGV[4] ~= 'waiting' then
    redis.call('ZREM', KEYS[6], ARGV[11])
  end
end
if ARGV[4] == 'waiting' then
  redis.call('HDEL', KEYS[2], 'outcome')
  redis.call('SET', KEYS[3], ARGV[6], 'PX', ARGV[8])
  redis.call('ZREM', KEYS[4], ARGV[1])
  redis.call('ZADD', KEYS[5], math.max(tonumber(ARGV[7]), tonumber(ARGV[9])), ARGV[1])
  redis.call('SADD', KEYS[7], ARGV[1])
  redis.call('PEXPIRE', KEYS[7], ARGV[8])
else
  redis.call('HSET', KEYS[2], 'outcome', ARGV[5])
  redis.call('DEL', KEYS[3])
  redis.call('ZREM', KEYS[4], ARGV[1])
  redis.call('ZREM', KEYS[5], ARGV[1])
  redis.call('SREM', KEYS[7], ARGV[1])
end
return 1
"""
# KEYS: open, caps, caps as they were named before, due, helds · ARGV: when it was erased, when what waits is due, stem of
# entries; of what is under way the lease goes on
FORGET = """
for i = 2, 3 do redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', '(' .. ARGV[1]) end
local helds = redis.call('SMEMBERS', KEYS[5])
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if redis.call('HGET', ARGV[3] .. id, 'state') == 'waiting' then
    for _, held in ipairs(helds) do redis.call('ZREM', held, id) end
    redis.call('ZADD', KEYS[4], ARGV[2], id)
  end
end
return 1
"""
# KEYS: epoch, held, due, helds · moves what was held to what is due
RELEASE = """
redis.call('ZUNIONSTORE', KEYS[3], 2, KEYS[3], KEYS[2], 'AGGREGATE', 'MIN')
redis.call('SREM', KEYS[4], KEYS[2])
return redis.call('DEL', KEYS[2])
"""
# KEYS: epoch, caps, rate, turns, caps as they were named before · ARGV: id, what caps count ('' for nothing), ms to keep
# that, microseconds between tokens (0: no rate), burst, ms that a turn is kept, then of each cap channel, group, at most,
# within, then
LIMIT = """
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(now_us / 1000)
if redis.call('EXISTS', KEYS[5]) == 1 then
  redis.call('ZUNIONSTORE', KEYS[2], 2, KEYS[2], KEYS[5], 'AGGREGATE', 'MIN')
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  redis.call('DEL', KEYS[5])
end
if ARGV[2] ~= '' and not redis.call('ZSCORE', KEYS[2], ARGV[2]) then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[3]))
  local sent, full, wait = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'), nil, 0
  for c = 7, #ARGV, 5 do
    local most, within, times = tonumber(ARGV[c + 2]), tonumber(ARGV[c + 3]), {}
    for i = 1, #sent, 2 do
      local channel, group = string.match(sent[i], '^(.-)\\n(.-)\\n')
      local at = tonumber(sent[i + 1])
      if (ARGV[c] == '' or ARGV[c] == channel) and (ARGV[c + 1] == '' or ARGV[c + 1] == group) and at > now - within then
        times[#times + 1] = at
      end
    end
    if #times >= most then
      if ARGV[c + 4] == 'drop' then return {'capped', (c - 2) / 5, 0} end
      local free = times[#times - most + 1] + within - now
      if free > wait then full, wait = (c - 2) / 5, free end
    end
  end
  if full then return {'capped', full, wait} end
end
local interval = tonumber(ARGV[4])
if interval > 0 then
  local turn = tonumber(redis.call('ZSCORE', KEYS[4], ARGV[1]) or nil)
  if turn then
    if turn > now then return {'rate', 0, turn - now} end
    redis.call('ZREM', KEYS[4], ARGV[1])
  else
    local next_us = math.max(now_us, tonumber(redis.call('GET', KEYS[3]) or 0))
    local keep = math.ceil((next_us + interval - now_us) / 1000) + 1
    redis.call('SET', KEYS[3], string.format('%.0f', next_us + interval), 'PX', keep)
    local turn_us = next_us - (tonumber(ARGV[5]) - 1) * interval
    if turn_us > now_us then
      turn = math.ceil(turn_us / 1000)
      redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - tonumber(ARGV[6]))
      redis.call('ZADD', KEYS[4], turn, ARGV[1])
      redis.call('PEXPIRE', KEYS[4], turn - now + tonumber(ARGV[6]))
      return {'rate', 0, turn - now}
    end
  end
end
if ARGV[2] ~= '' then
  redis.call('ZADD', KEYS[2], 'NX', now, ARGV[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return {'go', 0, 0}
"""
LOCK_GUARD = "if redis.call('GET', KEYS[1]) ~= ARGV[#ARGV] then return redis.error_reply('LOST') end\n"
# KEYS: lock, positions · ARGV: field, position, …, ms to hold the lock for, token
POSITIONS = (
    LOCK_GUARD
    + """
for i = 1, #ARGV - 2, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[#ARGV - 1])
"""
)
# KEYS: lock, epoch · ARGV: token
OPEN = (
    LOCK_GUARD
    + """
redis.call('SET', KEYS[2], string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'))
return redis.call('DEL', KEYS[1])
"""
)
