-- Puts fields of a hash right, each only if it still is what was seen: an absent value is the empty string.
-- KEYS: hash; ARGV: ttl ms for a hash that has none, then field, seen, wanted for each
for i = 2, #ARGV, 3 do
  if (redis.call('HGET', KEYS[1], ARGV[i]) or '') == ARGV[i + 1] then
    if ARGV[i + 2] == '' then
      redis.call('HDEL', KEYS[1], ARGV[i])
    else
      redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1], 'NX')
return 1
