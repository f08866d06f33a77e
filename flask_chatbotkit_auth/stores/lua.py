"""The Lua scripts of the store in Redis. Each script is one step.

A step is atomic, since Redis runs nothing else while it runs a script. The caller passes the time, in milliseconds since the
epoch. A key expires after a duration, so that the clocks of Redis and the application can differ.
"""

from __future__ import annotations

# Keys from `key` on: the session, the index of its user, and, up to `last_key`, the sets of the event. Arguments from `at`
# on: now, when the session expires, when it ends at the latest, its id, the event or "", the time of the event, and, up to
# `last`, the fields of the session. The index lasts at least as long as each of its sessions. Each new session removes the
# expired ones from it.
_ADD_SESSION = """
        local function add_session(key, last_key, at, last)
            local now, expires_at, ends_at = ARGV[at], ARGV[at + 1], ARGV[at + 2]
            redis.call('HSET', KEYS[key], unpack(ARGV, at + 6, last))
            redis.call('PEXPIRE', KEYS[key], expires_at - now)
            redis.call('ZREMRANGEBYSCORE', KEYS[key + 1], '-inf', now)
            redis.call('ZADD', KEYS[key + 1], expires_at, ARGV[at + 3])
            if redis.call('PTTL', KEYS[key + 1]) < ends_at - now then
                redis.call('PEXPIRE', KEYS[key + 1], ends_at - now)
            end
            for place = key + 2, last_key do
                redis.call('ZADD', KEYS[place], ARGV[at + 5], ARGV[at + 4])
            end
        end
"""

# Ends the oldest sessions in an index, so that `keep` sessions stay. The session `spared` counts as the newest.
_END_OLDEST = """
        local function end_oldest(index, prefix, keep, spared)
            local found, ended = {}, {}
            if redis.call('ZCARD', index) <= keep then return ended end
            for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
                local created_at = tonumber(redis.call('HGET', prefix .. id, 'created_at'))
                if created_at then table.insert(found, {id == spared and math.huge or created_at, id}) end
            end
            table.sort(found, function(a, b) return a[1] > b[1] or a[1] == b[1] and a[2] > b[2] end)
            for place = keep + 1, #found do
                redis.call('DEL', prefix .. found[place][2])
                redis.call('ZREM', index, found[place][2])
                table.insert(ended, found[place][2])
            end
            return ended
        end
"""

SCRIPTS = {
    # The index of an address is for `codes end`. Each new challenge removes the expired ones from it.
    "add_challenge": """
        redis.call('HSET', KEYS[1], unpack(ARGV, 4))
        redis.call('PEXPIRE', KEYS[1], ARGV[1])
        redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3] - ARGV[1])
        redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
        redis.call('PEXPIRE', KEYS[2], ARGV[1])
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
    # The gate of the sign-in. No digest means another proof than a code. It is right until the challenge expires.
    "try_code": """
        local now = tonumber(ARGV[1])
        local c = redis.call('HMGET', KEYS[1], 'state', 'attempts', 'expires_at', 'codes', 'claimed_until')
        if not c[1] then return {'missing', 0, 0} end
        local attempts, right = tonumber(c[2]), #ARGV == 3 and tonumber(c[3]) > now
        local codes = cjson.decode(c[4])
        for slot = 1, math.min(#codes, tonumber(ARGV[3])) do
            for given = 4, #ARGV do
                right = right or codes[slot][1] == ARGV[given] and tonumber(codes[slot][2]) > now
            end
        end
        if c[1] ~= 'open' then
            local free = c[1] == 'verified' and tonumber(c[5] or 0) <= now
            return {'spent', attempts, (right and free) and 1 or 0}
        end
        if attempts >= tonumber(ARGV[2]) then return {'exhausted', attempts, 0} end
        if tonumber(c[3]) <= now then return {'expired', attempts, 0} end
        if right then
            redis.call('HSET', KEYS[1], 'state', 'verified')
            return {'accepted', attempts, 0}
        end
        return {'wrong', redis.call('HINCRBY', KEYS[1], 'attempts', 1), 0}
    """,
    # ARGV[3]: the end of the claim, or 0 for no claim.
    "count_try": """
        local now = tonumber(ARGV[1])
        local c = redis.call('HMGET', KEYS[1], 'state', 'expires_at', 'tries', 'claimed_until')
        if c[1] ~= 'verified' or tonumber(c[2]) <= now or tonumber(c[3] or 0) >= tonumber(ARGV[2])
            or tonumber(c[4] or 0) > now then
            return 0
        end
        redis.call('HINCRBY', KEYS[1], 'tries', 1)
        redis.call('HSET', KEYS[1], 'claimed_until', ARGV[3])
        return 1
    """,
    # ARGV[2]: 1 to move only a claimed challenge; ARGV[3]: now, to move only a challenge that has not expired, or "".
    "move": """
        local c = redis.call('HMGET', KEYS[1], 'state', 'expires_at', 'claimed_until')
        local claimed = c[1] == 'verified' and tonumber(c[3] or 0) > 0
        if not c[1] or ARGV[2] == '1' and not claimed or c[1] == ARGV[1] and not claimed then return 0 end
        if ARGV[3] ~= '' and tonumber(c[2]) <= tonumber(ARGV[3]) then return 0 end
        redis.call('HSET', KEYS[1], 'state', ARGV[1], 'claimed_until', 0)
        return 1
    """,
    # ARGV: 1 the most sessions of the user, or "", 2 the prefix of a session's key, then the arguments of `add_session`.
    "complete": f"""
        {_ADD_SESSION}
        {_END_OLDEST}
        local c = redis.call('HMGET', KEYS[1], 'state', 'expires_at', 'claimed_until')
        local now = tonumber(ARGV[3])
        if c[1] ~= 'verified' or tonumber(c[2]) <= now or tonumber(c[3] or 0) > now then return 0 end
        redis.call('HSET', KEYS[1], 'state', 'completed')
        add_session(2, #KEYS, 3, #ARGV)
        if ARGV[1] ~= '' then end_oldest(KEYS[3], ARGV[2], tonumber(ARGV[1]), ARGV[6]) end
        return 1
    """,
    "add_session": f"""
        {_ADD_SESSION}
        add_session(2, #KEYS, 1, #ARGV)
    """,
    # The first key is the set of all events. The sets of an account and of an address keep only the newest events.
    "add_event": """
        for place, key in ipairs(KEYS) do
            redis.call('ZADD', key, ARGV[1], ARGV[2])
            if place > 1 then redis.call('ZREMRANGEBYRANK', key, 0, -ARGV[3] - 1) end
        end
    """,
    # ARGV: 1 the prefix of a session's key, 2 now, 3 the limit, or "". Only returned sessions are read completely.
    "list_sessions": """
        local live, found = {}, {}
        for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
            local s = redis.call('HMGET', ARGV[1] .. id, 'seen_at', 'expires_at')
            if s[1] and tonumber(s[2]) > tonumber(ARGV[2]) then table.insert(live, {tonumber(s[1]), id}) end
        end
        table.sort(live, function(a, b) return a[1] > b[1] or a[1] == b[1] and a[2] < b[2] end)
        for place = 1, math.min(#live, tonumber(ARGV[3]) or #live) do
            table.insert(found, live[place][2])
            table.insert(found, redis.call('HGETALL', ARGV[1] .. live[place][2]))
        end
        return found
    """,
    "touch_session": """
        local s = redis.call('HMGET', KEYS[1], 'user_id', 'expires_at')
        if not s[1] or tonumber(s[2]) <= tonumber(ARGV[1]) then return end
        redis.call('HSET', KEYS[1], 'seen_at', ARGV[1], 'expires_at', ARGV[2])
        if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'ip', ARGV[5]) end
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
    "stamp_session": """
        local audience = redis.call('HMGET', KEYS[1], 'user_id', 'audience')
        if not audience[1] or audience[2] and audience[2] ~= '' then return end
        redis.call('HSET', KEYS[1], 'audience', ARGV[1], 'adapter', ARGV[2])
    """,
    "end_session": """
        local user_id = redis.call('HGET', KEYS[1], 'user_id')
        if not user_id or ARGV[3] ~= '' and ARGV[3] ~= user_id then return 0 end
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
    # ARGV: 1 the prefix of a session's key, 2 how many stay, 3 now, to remove the expired ones from the index,
    # 4 the id of the session that is spared, or "".
    "end_oldest_sessions": f"""
        {_END_OLDEST}
        redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
        return end_oldest(KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[4])
    """,
    "lease": """
        local held = tonumber(redis.call('GET', KEYS[1]))
        if held and held > tonumber(ARGV[1]) then return 0 end
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
        return 1
    """,
    "release": """
        if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
    """,
}

# The last key is the nonce. The last three arguments are now, the time until which the nonce is spent, and the duration.
_SPEND = """
        local function spend(answer)
            local nonce, last = KEYS[#KEYS], #ARGV
            local held = tonumber(redis.call('GET', nonce))
            if held and held > tonumber(ARGV[last - 2]) then return 'replayed' end
            redis.call('SET', nonce, ARGV[last - 1], 'PX', ARGV[last])
            return answer
        end
"""

PASSKEY_SCRIPTS = {
    "add_passkey": f"""
        {_SPEND}
        local answer = spend('added')
        if answer ~= 'added' then return answer end
        if redis.call('EXISTS', KEYS[1]) == 1 then return 'taken' end
        if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[1]) then return 'full' end
        redis.call('ZADD', KEYS[2], ARGV[2], ARGV[3])
        redis.call('HSET', KEYS[1], unpack(ARGV, 4, #ARGV - 3))
        return 'added'
    """,
    # ARGV: 1 the user, 2 the counter, 3 whether the passkey is backed up, 4 now, then the arguments of `add_session`.
    "use_passkey": f"""
        {_SPEND}
        {_ADD_SESSION}
        local answer = spend('accepted')
        if answer ~= 'accepted' then return answer end
        local p = redis.call('HMGET', KEYS[1], 'user_id', 'sign_count', 'synced', 'gone_at')
        local new = tonumber(ARGV[2])
        if p[1] ~= ARGV[1] then return 'missing' end
        if (p[4] or '') ~= '' then return 'gone' end
        if p[3] ~= '1' and tonumber(p[2]) >= new and not (new == 0 and tonumber(p[2]) == 0) then return 'cloned' end
        redis.call('HSET', KEYS[1], 'sign_count', new, 'backed_up', ARGV[3], 'used_at', ARGV[4])
        add_session(2, #KEYS - 1, 5, #ARGV - 3)
        return 'accepted'
    """,
    "change_passkey": """
        if redis.call('HGET', KEYS[1], 'user_id') ~= ARGV[1] then return 0 end
        if ARGV[3] ~= '' then
            redis.call('HSET', KEYS[1], 'name', ARGV[4])
        else
            redis.call('DEL', KEYS[1])
            redis.call('ZREM', KEYS[2], ARGV[2])
        end
        return 1
    """,
    "remove_passkeys": """
        local removed = 0
        for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
            removed = removed + redis.call('DEL', ARGV[1] .. id)
        end
        redis.call('DEL', KEYS[1])
        redis.call('ZREM', KEYS[2], ARGV[2])
        return removed
    """,
    # `purge` uses the index of accounts that do not exist any more.
    "mark_passkeys": """
        local marked = 0
        for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
            local key = ARGV[1] .. id
            local gone_at = redis.call('HGET', key, 'gone_at')
            if gone_at and (ARGV[3] == '' or gone_at == '') then redis.call('HSET', key, 'gone_at', ARGV[3]) end
            marked = marked + 1
        end
        if ARGV[3] == '' or marked == 0 then
            redis.call('ZREM', KEYS[2], ARGV[2])
        else
            redis.call('ZADD', KEYS[2], 'NX', ARGV[3], ARGV[2])
        end
    """,
}

# A window begins with the first hit.
LIMIT_SCRIPTS = {
    "count": """
        local hits = tonumber(redis.call('GET', KEYS[1]))
        if hits then return redis.call('INCRBY', KEYS[1], ARGV[1]) end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return tonumber(ARGV[1])
    """,
    # A count below zero would allow one hit more than the limit.
    "take_back": """
        for _, key in ipairs(KEYS) do
            if tonumber(redis.call('GET', key) or 0) > 0 then redis.call('DECR', key) end
        end
    """,
}
