"""The ledger's steps as Lua scripts: Redis runs each as a whole or not at all (see `actions/ledger.py`)."""

# every script but those of a rebuild begins with this
GUARD = """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('GET', KEYS[1]) ~= run then return redis.error_reply('UNSYNCED') end
"""
# KEYS: epoch, entry, body, parked set · ARGV: id, retry, delivery, score, take or park, ms to keep, owner
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
# KEYS: epoch or lock, entry, body, due, parked set · ARGV: id, retry, attempts, state, outcome, delivery, due, ms to keep,
# not before (0, or of a rebuild), code
RECORD = """
local e = redis.call('HMGET', KEYS[2], 'retry', 'attempts', 'state')
if e[3] then
  local final = (e[3] == 'sent' or e[3] == 'failed') and 1 or 0
  local retry, attempts = tonumber(e[1]), tonumber(e[2])
  local r, n, f = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] ~= 'waiting' and 1 or 0
  if retry > r or (retry == r and (attempts > n or (attempts == n and final > f))) then return 0 end
  local known = e[3] == 'waiting' or ARGV[10] == 'in_doubt'
  if ARGV[9] ~= '0' and f == 0 and retry == r and attempts == n and known then return 0 end
end
redis.call('HSET', KEYS[2], 'retry', ARGV[2], 'attempts', ARGV[3], 'state', ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[8])
if ARGV[4] == 'waiting' then
  redis.call('HDEL', KEYS[2], 'outcome')
  redis.call('SET', KEYS[3], ARGV[6], 'PX', ARGV[8])
  redis.call('ZREM', KEYS[4], ARGV[1])
  redis.call('ZADD', KEYS[5], math.max(tonumber(ARGV[7]), tonumber(ARGV[9])), ARGV[1])
else
  redis.call('HSET', KEYS[2], 'outcome', ARGV[5])
  redis.call('DEL', KEYS[3])
  redis.call('ZREM', KEYS[4], ARGV[1])
  redis.call('ZREM', KEYS[5], ARGV[1])
end
return 1
"""
# KEYS: epoch, held, due, helds · moves what was held to what is due
RELEASE = """
redis.call('ZUNIONSTORE', KEYS[3], 2, KEYS[3], KEYS[2], 'AGGREGATE', 'MIN')
redis.call('SREM', KEYS[4], KEYS[2])
return redis.call('DEL', KEYS[2])
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
