-- One announce, one question, or one count. Everything about a swarm has one hash tag, so all keys are on one node.
--
-- KEYS, three for each family, the asker's own first: leeches and seeds (sorted sets of packed addresses, scored by the
-- second of the last announce), and how many downloads were completed.
-- ARGV: the packed peer; what it does (l or s: is a leech or a seed, x: leaves, -: only asks); 1 if it completed a download;
-- 1 if it is told of leeches only; peers wanted of the first family, and of both together; seconds that a peer lives; a
-- number drawn by lot; most peers of one role.
--
-- Returns for each family: seeds, leeches, downloads and the length of the peers, four bytes each, and the peers.

local me, what, done, leeches_only = ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[4] == '1'
local life, lot, most = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local now = tonumber(redis.call('TIME')[1])
local cutoff = now - life

-- A number below n, another one each time (Park and Miller 1988). The server's own are the same in every call.
local function random(n)
  lot = lot * 48271 % 2147483647
  return lot % n
end

-- How many of a role are alive, and how many silent ones stand in front of them. Removes some of the silent.
local function count(key)
  local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if not oldest then return 0, 0 end
  local all = redis.call('ZCARD', key)
  if tonumber(oldest) > cutoff then return all, 0 end
  local silent = redis.call('ZCOUNT', key, '-inf', cutoff)
  local gone = math.min(silent, 64)
  redis.call('ZREMRANGEBYRANK', key, 0, gone - 1)
  return all - silent, silent - gone
end

-- Up to n peers of a role, packed, without the asker: from a random place on, around the end to the beginning. So each has
-- the same chance, and time does not grow with the swarm.
local function draw(key, n, alive, silent)
  if n <= 0 or alive == 0 then return '', 0 end
  local found
  if n >= alive then
    found = redis.call('ZRANGE', key, silent, -1)
  else
    local start = silent + random(alive)
    found = redis.call('ZRANGE', key, start, start + n)
    local missing = n + 1 - #found
    if missing > 0 then
      local more = redis.call('ZRANGE', key, silent, silent + missing - 1)
      for i = 1, missing do found[#found + 1] = more[i] end
    end
  end
  local len = #found
  local surplus = len > n and len
  for i = 1, len do
    if found[i] == me then surplus = i break end
  end
  if surplus then
    found[surplus] = found[len]
    len = len - 1
  end
  return table.concat(found, '', 1, len), len
end

-- A family's counts and peers.
local function tell(first, want)
  local leeches, seeds, completed = KEYS[first], KEYS[first + 1], KEYS[first + 2]
  local of_leeches, silent_leeches = count(leeches)
  local of_seeds, silent_seeds = count(seeds)
  local downloads = tonumber(redis.call('GETEX', completed, 'EX', 2 * life + 60) or 0)
  local peers, all = '', of_leeches + of_seeds
  if what ~= 'x' and want > 0 and all > 0 then
    local l = want
    if not leeches_only and want < all then
      -- In proportion, and the odd one by lot.
      local product = want * of_seeds
      l = want - math.floor(product / all)
      if random(all) < product % all then l = l - 1 end
    end
    -- The asker may be one of the leeches; a seed takes its place.
    local some, got = draw(leeches, l, of_leeches, silent_leeches)
    peers = some .. draw(seeds, leeches_only and 0 or want - got, of_seeds, silent_seeds)
  end
  return struct.pack('>I4I4I4I4', of_seeds, of_leeches, math.min(downloads, 4294967295), #peers) .. peers
end

if what == 'l' or what == 's' then
  local own, other = KEYS[1], KEYS[2]
  if what == 's' then own, other = other, own end
  local added = redis.call('ZADD', own, now, me)
  local fresh = false
  if added == 1 then
    local moved = redis.call('ZREM', other, me)
    if done then redis.call('INCR', KEYS[3]) end
    local all = redis.call('ZCARD', own)
    if all > most then redis.call('ZPOPMIN', own) end
    fresh = moved == 0 and all == 1
  end
  -- What was announced once goes before what is announced again, where memory is short and the policy volatile-ttl.
  redis.call('EXPIRE', own, fresh and life + 60 or 2 * life + 60)
elseif what == 'x' then
  if redis.call('ZREM', KEYS[1], me) == 0 then redis.call('ZREM', KEYS[2], me) end
end

local answer = tell(1, tonumber(ARGV[5]))
if KEYS[4] then
  local left = tonumber(ARGV[6])
  if left > 0 then left = left - (#answer - 16) / #me end
  answer = answer .. tell(4, left)
end
return answer
