-- Who probes a callee until then. The claim lives among the remembered contacts, under no contact's name, and goes with them.
-- KEYS: last; ARGV: now, until (ms)
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local claimed = redis.call('HGET', KEYS[1], '')
if claimed and tonumber(claimed) > tonumber(ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], '', ARGV[2])
return 1
