-- Replaces a watch's record if its fence is still the expected one.
-- KEYS: watch, wait, due, turn
-- ARGV: fence (8 bytes), record, ttl ms, due, member, caller, turn ('leave' | 'take' | 'keep' | 'release'), turn ttl ms, arrival
-- Returns 1 applied, 0 stale, or -n: somebody else has the turn for n ms more.
local record = redis.call('GET', KEYS[1])
if not record or string.sub(record, 1, 8) ~= ARGV[1] then
  return 0
end
local turn = ARGV[7]
if turn ~= 'leave' then
  local holder = redis.call('GET', KEYS[4])
  local mine = not holder or holder == ARGV[6]
  if turn == 'take' and not mine then
    return -math.max(1, redis.call('PTTL', KEYS[4]))
  elseif turn == 'release' then
    if holder and mine then
      redis.call('DEL', KEYS[4])
    end
  elseif mine then
    redis.call('SET', KEYS[4], ARGV[6], 'PX', ARGV[8])
  end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
-- It is there already, unless the arming was cut off in the middle.
redis.call('ZADD', KEYS[2], 'NX', ARGV[9], ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[3], 'NX')
redis.call('PEXPIRE', KEYS[2], ARGV[3], 'GT')
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[5])
return 1
