-- Removes a watch. Whoever takes it out of the due index ends it; everybody later gets 0.
-- KEYS: watch, wait, due, turn
-- ARGV: expected fence (8 bytes, or empty for any), member, caller, turn ('leave' | 'keep' | 'release'), turn ttl ms
local record = redis.call('GET', KEYS[1])
if record and ARGV[1] ~= '' and string.sub(record, 1, 8) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[3])
local first = redis.call('ZREM', KEYS[3], ARGV[2])
if first == 1 and ARGV[4] ~= 'leave' then
  local holder = redis.call('GET', KEYS[4])
  if not holder or holder == ARGV[3] then
    -- A turn that nobody waits for would be a key left behind.
    if ARGV[4] == 'keep' and redis.call('EXISTS', KEYS[2]) == 1 then
      redis.call('SET', KEYS[4], ARGV[3], 'PX', ARGV[5])
    elseif holder then
      redis.call('DEL', KEYS[4])
    end
  end
end
return first
