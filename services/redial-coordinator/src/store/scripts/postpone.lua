-- Moves the due time of a watch whose fence is still the expected one.
-- KEYS: watch, due; ARGV: fence (8 bytes), due, member
local record = redis.call('GET', KEYS[1])
if not record or string.sub(record, 1, 8) ~= ARGV[1] then
  return 0
end
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[3])
return 1
