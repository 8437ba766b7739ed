"""What the Redis store asks of Redis: Lua scripts, each of them one atomic step.

Every script first looks at the namespace's schema key, so that nothing is touched in a namespace
that another layout or another program holds, and a server that lost all its keys is no new case.
Each answers with a list whose first item is "ok", or says why it did nothing:

- "schema" and what was found in the place of our layout's number;
- "blind": the user may not read INFO;
- "era": the server does not tell which run and which line of history its data are of;
- "again": so many dead entries were cleared away that others should have their turn first.

Nothing here needs more than Redis 6.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Word: TypeAlias = "str | bytes | int"


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and the name under which Redis remembers it."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)

    def __call__(self, keys: Iterable[str], *words: Word) -> Request:
        """A request that runs it; the first of the keys is the schema's."""
        return Request(self, tuple(keys), words)


@dataclass(frozen=True, slots=True)
class Request:
    """A script with its keys and arguments."""

    script: Script
    keys: tuple[str, ...]
    words: Sequence[Word]

    @property
    def arguments(self) -> tuple[Word, ...]:
        """What follows the script in EVALSHA."""
        return (len(self.keys), *self.keys, *self.words)


# -- what several scripts begin with ---------------------------------------------------

# ARGV[1] is our layout.
_LOOK = """
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then
  if not string.find(found.err, 'WRONGTYPE', 1, true) then return found end
  return {'schema', redis.call('TYPE', KEYS[1]).ok}
end
if found and found ~= ARGV[1] then return {'schema', found} end
"""

_CLAIM = f"""{_LOOK}
if not found then redis.call('SET', KEYS[1], ARGV[1]) end
"""

# A server that starts from an old dump has another run_id. One that became a replica and then
# the master again keeps it, but has another replication id: it too may hold what was taken.
_ERA = """
local server = redis.pcall('INFO', 'server')
if type(server) == 'table' then
  local told = string.lower(server.err)
  if string.find(told, 'perm') or string.find(told, "can't run") then return {'blind'} end
  return server
end
local run = string.match(server, 'run_id:(%x+)')
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not run or not history then return {'era'} end
local era = run .. ':' .. history
"""

# The ids that are alive under a key, newest first, up to as many as are enough; none at all if
# the budget of dead ones is used up. ARGV[2] begins the name of every binding.
_LIVE = """
local budget = 1000
local function live(index, enough)
  local ids = {}
  while #ids < enough do
    local some = redis.call('ZREVRANGE', index, #ids, #ids + 15)
    if #some == 0 then break end
    for _, id in ipairs(some) do
      if redis.call('HGET', ARGV[2] .. id, 'era') == era then
        table.insert(ids, id)
        if #ids == enough then break end
      else
        redis.call('DEL', ARGV[2] .. id)
        redis.call('ZREM', index, id)
        budget = budget - 1
      end
    end
    if budget < 0 then return nil end
  end
  return ids
end
"""

_OUTLIVE = """
local function outlive(key, ttl)
  if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
end
"""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# -- bindings: a hash each, and for each key a sorted set of ids, the newest on top ----------

TAKE = Script(f"""{_LOOK}{_ERA}{_LIVE}
-- ARGV: layout, start of bindings' names, start of keys' names, unique
for place = 2, #KEYS do
  local ids = live(KEYS[place], ARGV[4] == '1' and 2 or 1)
  if not ids then return {{'again'}} end
  if #ids == 1 then
    local name = ARGV[2] .. ids[1]
    local kept = redis.call('HMGET', name, 'binding', 'keys')
    for _, key in ipairs(cjson.decode(kept[2])) do
      redis.call('ZREM', ARGV[3] .. key, ids[1])
    end
    redis.call('DEL', name)
    return {{'ok', kept[1]}}
  end
end
return {{'ok'}}
""")

PEEK = Script(f"""{_LOOK}{_ERA}{_LIVE}
-- ARGV: layout, start of bindings' names, unique
local lists, seen, found = {{}}, {{}}, {{'ok'}}
for place = 2, #KEYS do
  local ids = live(KEYS[place], math.huge)
  if not ids then return {{'again'}} end
  table.insert(lists, ids)
end
local function hit()
  for _, ids in ipairs(lists) do
    local left = {{}}
    for _, id in ipairs(ids) do
      if not seen[id] then table.insert(left, id) end
    end
    if #left == 1 or (#left > 0 and ARGV[3] ~= '1') then return left end
  end
  return {{}}
end
local left = hit()
while #left > 0 do
  for _, id in ipairs(left) do
    seen[id] = true
    table.insert(found, redis.call('HGET', ARGV[2] .. id, 'binding'))
  end
  left = hit()
end
return found
""")

PUT = Script(f"""{_CLAIM}{_ERA}{_OUTLIVE}
-- KEYS: schema, the binding, its keys
-- ARGV: layout, start of bindings' names, start of keys' names, id, keys, binding, ttl
local before = redis.call('HGET', KEYS[2], 'keys')
if ARGV[7] == '0' then
  redis.call('DEL', KEYS[2])
else
  redis.call('HSET', KEYS[2], 'binding', ARGV[6], 'keys', ARGV[5], 'era', era)
  redis.call('PEXPIRE', KEYS[2], ARGV[7])
end
if before then
  for _, key in ipairs(cjson.decode(before)) do redis.call('ZREM', ARGV[3] .. key, ARGV[4]) end
end
if ARGV[7] == '0' then return {{'ok'}} end
for place = 3, #KEYS do
  local index = KEYS[place]
  -- Two of the oldest are looked at for each that comes, so what has expired does not pile up.
  for _, id in ipairs(redis.call('ZRANGE', index, 0, 1)) do
    if redis.call('EXISTS', ARGV[2] .. id) == 0 then redis.call('ZREM', index, id) end
  end
  local top = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')[2] or 0
  redis.call('ZADD', index, top + 1, ARGV[4])
  outlive(index, ARGV[7])
end
return {{'ok'}}
""")

LIST_BINDINGS = Script(f"""{_LOOK}{_ERA}
-- KEYS: schema, bindings
local listed = {{'ok'}}
for place = 2, #KEYS do
  local kept = redis.call('HMGET', KEYS[place], 'era', 'binding')
  if kept[1] == era then
    table.insert(listed, kept[2])
    table.insert(listed, redis.call('PTTL', KEYS[place]))
  end
end
return listed
""")

# -- slots: a sorted set for each pool, scored by when they lapse (milliseconds) -----------
# The pool's own name stands in it too, at infinity.

OCCUPY = Script(f"""{_CLAIM}{_NOW}{_OUTLIVE}
-- ARGV: layout, pool, slot, limit, ttl
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if not redis.call('ZSCORE', KEYS[2], ARGV[3])
    and redis.call('ZCOUNT', KEYS[2], '-inf', '(+inf') >= tonumber(ARGV[4]) then
  return {{'ok'}}
end
redis.call('ZADD', KEYS[2], now + ARGV[5], ARGV[3], '+inf', ARGV[2])
outlive(KEYS[2], ARGV[5])
return {{'ok', 1}}
""")

VACATE = Script(f"""{_LOOK}
-- ARGV: layout, slot
redis.call('ZREM', KEYS[2], ARGV[2])
if redis.call('ZCOUNT', KEYS[2], '-inf', '(+inf') == 0 then redis.call('DEL', KEYS[2]) end
return {{'ok'}}
""")

SLOTS = Script(f"""{_LOOK}{_NOW}
local listed = redis.call('ZRANGEBYSCORE', KEYS[2], '+inf', '+inf')
local slots = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '(+inf',
                         'WITHSCORES')
for place = 1, #slots, 2 do
  table.insert(listed, slots[place])
  table.insert(listed, slots[place + 1] - now)
end
table.insert(listed, 1, 'ok')
return listed
""")

# -- notes: a string each ------------------------------------------------------------

READ_NOTE = Script(f"""{_LOOK}
return {{'ok', redis.call('GET', KEYS[2]) or ''}}
""")

CHANGE_NOTE = Script(f"""{_CLAIM}
-- ARGV: layout, what it was, what it shall be, ttl; answers what it is if it was changed since
local note = redis.call('GET', KEYS[2]) or ''
if note ~= ARGV[2] then return {{'ok', note}} end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return {{'ok'}}
""")

# -- transcripts: a list each, of a heading and the lines -----------------------------------
# What replaces is appended before the old is cut off: if there is no memory left for it,
# nothing is lost. The lists keep their expiry through both.

APPEND = Script(f"""{_CLAIM}
-- KEYS: schema, the transcript, the canary
-- ARGV: layout, replace, ttl, the canary that is known, one for where there is none, heading, lines
-- answers what the canary is if it is another one
if ARGV[2] == '1' and #ARGV == 6 then redis.call('DEL', KEYS[2]) end
if #ARGV == 6 then return {{'ok'}} end
local canary = redis.call('GET', KEYS[3])
if canary and canary ~= ARGV[4] then return {{'ok', canary}} end
local before = redis.call('LLEN', KEYS[2])
if ARGV[2] == '1' or before == 0 then redis.call('RPUSH', KEYS[2], ARGV[6]) end
if not canary and ARGV[5] ~= '' then redis.call('SET', KEYS[3], ARGV[5]) end
for first = 7, #ARGV, 1000 do
  redis.call('RPUSH', KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
if ARGV[2] == '1' and before > 0 then redis.call('LTRIM', KEYS[2], before, -1) end
if ARGV[3] == '0' then
  redis.call('PERSIST', KEYS[2])
else
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return {{'ok'}}
""")

READ_CANARY = Script(f"""{_LOOK}
return {{'ok', redis.call('GET', KEYS[2]) or ''}}
""")

SWAP_CANARY = Script(f"""{_CLAIM}
-- ARGV: layout, what it was, what it shall be; answers 1 unless it is another one by now
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then return {{'ok'}} end
redis.call('SET', KEYS[2], ARGV[3])
return {{'ok', 1}}
""")

LOAD = Script(f"""{_LOOK}
local lines = redis.call('LRANGE', KEYS[2], 0, -1)
table.insert(lines, 1, 'ok')
return lines
""")

CLEAR = Script(f"""{_LOOK}
redis.call('DEL', KEYS[2])
return {{'ok'}}
""")

SWAP = Script(f"""{_LOOK}
-- ARGV: layout, heading, lines that take the place of as many; answers 1 unless the heading,
-- which every replacement makes anew, is another by now
if redis.call('LINDEX', KEYS[2], 0) ~= ARGV[2] then return {{'ok'}} end
local before = redis.call('LLEN', KEYS[2])
local tail = redis.call('LRANGE', KEYS[2], #ARGV - 1, -1)
for first = 2, #ARGV, 1000 do
  redis.call('RPUSH', KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
for first = 1, #tail, 1000 do
  redis.call('RPUSH', KEYS[2], unpack(tail, first, math.min(first + 999, #tail)))
end
redis.call('LTRIM', KEYS[2], before, -1)
return {{'ok', 1}}
""")

LIST_TRANSCRIPTS = Script(f"""{_LOOK}
-- KEYS: schema, transcripts
local listed = {{'ok'}}
for place = 2, #KEYS do
  local length = redis.call('LLEN', KEYS[place])
  if length > 0 then
    table.insert(listed, redis.call('LINDEX', KEYS[place], 0))
    table.insert(listed, length - 1)
    table.insert(listed, redis.call('PTTL', KEYS[place]))
  end
end
return listed
""")
