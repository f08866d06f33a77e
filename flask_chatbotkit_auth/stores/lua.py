"""The steps of the store in Redis, one script each.

Redis runs a script alone from its first line to its last: that makes each step atomic. Times come from the caller, in
milliseconds since the epoch. A key's own expiry is a span, so that the clocks of Redis and the application need not agree.
"""

from __future__ import annotations

SCRIPTS = {
    "add_challenge": """
        redis.call('HSET', KEYS[1], unpack(ARGV, 2))
        redis.call('PEXPIRE', KEYS[1], ARGV[1])
    """,
    "add_code": """
        local digest, now, expires_at, sent_before = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
        local c = redis.call('HMGET', KEYS[1], 'state', 'expires_at', 'attempts', 'sends', 'sent_at', 'codes')
        if c[1] ~= 'open' or tonumber(c[2]) <= now or tonumber(c[3]) >= tonumber(ARGV[6])
            or tonumber(c[4]) >= tonumber(ARGV[5]) or tonumber(c[5]) > sent_before then
            return 0
        end
        local codes = cjson.decode(c[6])
        table.insert(codes, 1, {digest, expires_at})
        codes[tonumber(ARGV[8]) + 1] = nil
        redis.call('HSET', KEYS[1], 'codes', cjson.encode(codes), 'sent_at', ARGV[2], 'expires_at', expires_at)
        redis.call('HINCRBY', KEYS[1], 'sends', 1)
        redis.call('PEXPIRE', KEYS[1], ARGV[7])
        return 1
    """,
    "withdraw_code": """
        local sends = tonumber(redis.call('HGET', KEYS[1], 'sends'))
        if sends then redis.call('HSET', KEYS[1], 'sends', math.max(0, sends - 1), 'sent_at', 0) end
    """,
    # The gate of the sign-in.
    "try_code": """
        local now = tonumber(ARGV[1])
        local c = redis.call('HMGET', KEYS[1], 'state', 'attempts', 'expires_at', 'codes')
        if not c[1] then return {'missing', 0, 0} end
        local attempts, right = tonumber(c[2]), false
        for _, code in ipairs(cjson.decode(c[4])) do
            for given = 3, #ARGV do
                right = right or code[1] == ARGV[given] and tonumber(code[2]) > now
            end
        end
        if c[1] ~= 'open' then return {'spent', attempts, (right and c[1] == 'verified') and 1 or 0} end
        if attempts >= tonumber(ARGV[2]) then return {'exhausted', attempts, 0} end
        if tonumber(c[3]) <= now then return {'expired', attempts, 0} end
        if right then
            redis.call('HSET', KEYS[1], 'state', 'verified')
            return {'accepted', attempts, 0}
        end
        return {'wrong', redis.call('HINCRBY', KEYS[1], 'attempts', 1), 0}
    """,
    # The user's index outlives the longest of the sessions in it, and forgets the expired ones with each new one.
    "complete": """
        local now, ends_in = tonumber(ARGV[1]), ARGV[3] - ARGV[1]
        local c = redis.call('HMGET', KEYS[1], 'state', 'expires_at')
        if c[1] ~= 'verified' or tonumber(c[2]) <= now then return 0 end
        redis.call('HSET', KEYS[1], 'state', 'completed')
        redis.call('HSET', KEYS[2], unpack(ARGV, 5))
        redis.call('PEXPIRE', KEYS[2], ARGV[2] - ARGV[1])
        redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
        redis.call('ZADD', KEYS[3], ARGV[2], ARGV[4])
        if redis.call('PTTL', KEYS[3]) < ends_in then redis.call('PEXPIRE', KEYS[3], ends_in) end
        return 1
    """,
    "list_sessions": """
        local found = {}
        for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
            table.insert(found, id)
            table.insert(found, redis.call('HGETALL', ARGV[1] .. id))
        end
        return found
    """,
    "touch_session": """
        local s = redis.call('HMGET', KEYS[1], 'user_id', 'expires_at')
        if not s[1] or tonumber(s[2]) <= tonumber(ARGV[1]) then return end
        redis.call('HSET', KEYS[1], 'seen_at', ARGV[1], 'expires_at', ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[2] - ARGV[1])
        redis.call('ZADD', ARGV[4] .. s[1], 'XX', ARGV[2], ARGV[3])
    """,
    "claim_refresh": """
        local s = redis.call('HMGET', KEYS[1], 'refreshed_at', 'claimed_until')
        if not s[1] or tonumber(s[1]) >= tonumber(ARGV[2]) or tonumber(s[2]) > tonumber(ARGV[1]) then return 0 end
        redis.call('HSET', KEYS[1], 'claimed_until', ARGV[3])
        return 1
    """,
    "save_user": """
        for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
            local key = ARGV[1] .. id
            if redis.call('EXISTS', key) == 1 then
                redis.call('HSET', key, 'snapshot', ARGV[2], 'refreshed_at', ARGV[3], 'claimed_until', 0)
            end
        end
    """,
    "end_session": """
        local user_id = redis.call('HGET', KEYS[1], 'user_id')
        if not user_id then return 0 end
        redis.call('ZREM', ARGV[2] .. user_id, ARGV[1])
        return redis.call('DEL', KEYS[1])
    """,
    "end_sessions": """
        local ended = {}
        for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
            if id ~= ARGV[2] then
                if redis.call('DEL', ARGV[1] .. id) == 1 then table.insert(ended, id) end
                redis.call('ZREM', KEYS[1], id)
            end
        end
        return ended
    """,
}
