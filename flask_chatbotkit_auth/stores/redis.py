"""The store in Redis: a hash for each challenge and session, and a script for each step. Redis deletes expired keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..clock import EPOCH, to_milliseconds
from ..exceptions import ConfigurationError
from ..measure import measured
from ..user import User
from .base import Store
from .lua import LIMIT_SCRIPTS, PASSKEY_SCRIPTS, SCRIPTS
from .records import (
    CLAIM_LASTS,
    KEPT,
    MAX_CODES,
    Attempt,
    Challenge,
    Outcome,
    SessionRecord,
    State,
    snapshot_of,
    spent_key,
)
from .redis_connect import connector, store_error
from .redis_events import RedisEvents
from .redis_passkeys import RedisPasskeys
from .redis_values import fields, flat, text

if TYPE_CHECKING:
    import redis
    from limits.storage import Storage as LimitsStorage

    from .events import Event


class RedisStore(RedisPasskeys, RedisEvents, Store):
    """Stores everything in Redis 5 or newer, Valkey, or a server with the same protocol, also in a cluster.

    Redis should not evict keys: with a policy such as ``allkeys-lru``, it deletes sessions when its memory is full.

    :param bind: a URL or a client. A URL is that of a server (``redis://host:6379/0``, ``rediss://…`` or ``unix://…``), of
        a primary behind Sentinel (``redis+sentinel://host:26379,host:26379/mymaster``), or of a cluster
        (``redis+cluster://host:6379,…``). A client is a ``redis.Redis`` or a ``redis.RedisCluster``. It keeps its own
        time-outs and retries. It should not retry, since a code that is sent again is counted again.
    :param prefix: the beginning of every key. Default: ``chatbotkit-auth:``; in a cluster ``{chatbotkit-auth}:``, whose
        hash tag puts all keys into one slot.
    :raises ConfigurationError: the URL is wrong, or the driver is not installed.
    """

    def __init__(self, bind: str | redis.Redis | redis.RedisCluster, prefix: str | None = None) -> None:
        try:
            import redis
        except ModuleNotFoundError:
            raise ConfigurationError(
                'The driver of redis:// is not installed. Install it with: pip install "flask-chatbotkit-auth[redis]"'
            ) from None
        # If a cluster cannot be reached, the driver also raises other errors than `RedisError`.
        self._errors = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)
        self._own = isinstance(bind, str)
        self._client: Any = None
        in_cluster = isinstance(bind, redis.RedisCluster)
        if isinstance(bind, str):
            self._connect = connector(bind)
            in_cluster = bind.startswith("redis+cluster:")
        elif isinstance(bind, (redis.Redis, redis.RedisCluster)):
            self._connect = lambda: bind
        else:
            raise ConfigurationError(f"Give Redis as a URL or a redis.Redis, not as {type(bind).__name__}.")
        self._prefix = prefix or ("{chatbotkit-auth}:" if in_cluster else "chatbotkit-auth:")
        self._scripts: dict[str, Any] = {}

    @property
    def client(self) -> Any:
        """The client. It is created at the first use.

        :raises StoreError: a cluster cannot be reached.
        """
        if self._client is None:
            try:
                client = self._connect()
            except self._errors as error:
                raise store_error(error) from error
            scripts = {**SCRIPTS, **PASSKEY_SCRIPTS, **LIMIT_SCRIPTS}
            self._scripts = {name: client.register_script(script) for name, script in scripts.items()}
            self._client = client
        return self._client

    # Challenges

    def add_challenge(self, challenge: Challenge, digest: str) -> None:
        expires_at = to_milliseconds(challenge.expires_at)
        # Pairs of a digest and its expiry, the newest first. The expiry is text, since JSON in Lua loses digits of numbers.
        codes = json.dumps([[digest, str(expires_at)]])
        parts = flat({**challenge.to_json(), "codes": codes})
        lasts = _milliseconds(challenge.expires_at - challenge.sent_at + KEPT)
        keys = [self._challenge_key(challenge.id), self._address_key(challenge.identifier)]
        self._run("add_challenge", keys, lasts, challenge.id, expires_at, *parts)

    def get_challenge(self, challenge_id: str) -> Challenge | None:
        found = fields(self._ask("hgetall", self._challenge_key(challenge_id)))
        return Challenge.from_json({**found, "id": challenge_id}) if found else None

    def add_code(
        self,
        challenge_id: str,
        digest: str,
        *,
        now: datetime,
        expires_at: datetime,
        sent_before: datetime,
        max_sends: int,
        max_attempts: int,
    ) -> bool:
        times = [to_milliseconds(each) for each in (now, expires_at, sent_before)]
        lasts = _milliseconds(expires_at - now + KEPT)
        key = self._challenge_key(challenge_id)
        return bool(self._run("add_code", [key], digest, *times, max_sends, max_attempts, lasts, MAX_CODES))

    def withdraw_code(self, challenge_id: str) -> None:
        self._run("withdraw_code", [self._challenge_key(challenge_id)])

    def try_code(self, challenge_id: str, digests: Sequence[str], *, now: datetime, max_attempts: int) -> Attempt:
        # Without a digest, the script would accept the challenge without a code.
        return self._open(challenge_id, digests or [""], now, max_attempts)

    def accept_challenge(self, challenge_id: str, *, now: datetime, max_attempts: int) -> Attempt:
        return self._open(challenge_id, [], now, max_attempts)

    def _open(self, challenge_id: str, digests: Sequence[str], now: datetime, max_attempts: int) -> Attempt:
        keys = [self._challenge_key(challenge_id)]
        answer = self._run("try_code", keys, to_milliseconds(now), max_attempts, MAX_CODES, *digests)
        outcome, attempts, again = answer
        return Attempt(Outcome(text(outcome)), int(attempts), bool(again))

    def count_try(self, challenge_id: str, *, now: datetime, max_tries: int) -> bool:
        return self._count(challenge_id, now, max_tries, 0)

    def claim(self, challenge_id: str, *, now: datetime, max_tries: int) -> bool:
        return self._count(challenge_id, now, max_tries, to_milliseconds(now + CLAIM_LASTS))

    def _count(self, challenge_id: str, now: datetime, max_tries: int, until: int) -> bool:
        keys = [self._challenge_key(challenge_id)]
        return bool(self._run("count_try", keys, to_milliseconds(now), max_tries, until))

    def unclaim(self, challenge_id: str) -> None:
        self._move(challenge_id, State.VERIFIED, claimed=True)

    def finish(self, challenge_id: str) -> bool:
        return self._move(challenge_id, State.COMPLETED, claimed=True)

    def end_challenge(self, challenge_id: str) -> bool:
        return self._move(challenge_id, State.COMPLETED)

    def end_challenges(self, identifier: str, *, now: datetime) -> int:
        ids = self._ask("zrange", self._address_key(identifier), 0, -1)
        return sum(self._move(text(id), State.COMPLETED, now=to_milliseconds(now)) for id in ids)

    def _move(self, challenge_id: str, state: State, *, claimed: bool = False, now: int | None = None) -> bool:
        return bool(self._run("move", [self._challenge_key(challenge_id)], state.value, int(claimed), now or ""))

    def complete(
        self,
        challenge_id: str,
        session: SessionRecord,
        *,
        now: datetime,
        event: Event | None = None,
        max_sessions: int | None = None,
    ) -> bool:
        keys, arguments = self._session_parts(session, now, event)
        most = "" if max_sessions is None else max_sessions
        keys = [self._challenge_key(challenge_id), *keys]
        return bool(self._run("complete", keys, most, self._session_key(""), *arguments))

    def _session_parts(
        self, session: SessionRecord, now: datetime, event: Event | None
    ) -> tuple[list[str], list[str | int]]:
        """Return the keys and arguments of ``add_session`` in a script."""
        record = {**session.to_json(), "claimed_until": 0}
        times = [to_milliseconds(now), record["expires_at"], record["ends_at"]]
        places, event_text = self._event_parts(event)
        happened = to_milliseconds(event.at) if event else 0
        keys = [self._session_key(session.id), self._user_key(session.user.id), *places]
        return keys, [*times, session.id, event_text, happened, *flat(record)]

    # Sessions

    def get_session(self, session_id: str, *, now: datetime) -> SessionRecord | None:
        record = _session(session_id, self._ask("hgetall", self._session_key(session_id)))
        return record if record and record.expires_at > now else None

    def add_session(self, session: SessionRecord, *, now: datetime) -> None:
        keys, arguments = self._session_parts(session, now, None)
        self._run("add_session", [keys[0], *keys], *arguments)

    def list_sessions(self, user_id: str, *, now: datetime, limit: int | None = None) -> list[SessionRecord]:
        prefix, most = self._session_key(""), "" if limit is None else limit
        found = self._run("list_sessions", [self._user_key(user_id)], prefix, to_milliseconds(now), most)
        records = [_session(text(id), answer) for id, answer in zip(found[::2], found[1::2], strict=True)]
        return [record for record in records if record]

    def count_sessions(self, user_id: str, *, now: datetime) -> int:
        return int(self._ask("zcount", self._user_key(user_id), f"({to_milliseconds(now)}", "+inf"))

    def touch_session(self, session_id: str, *, seen_at: datetime, expires_at: datetime, ip: str | None = None) -> None:
        times = [to_milliseconds(each) for each in (seen_at, expires_at)]
        self._run("touch_session", [self._session_key(session_id)], *times, session_id, self._user_key(""), ip or "")

    def stamp_session(self, session_id: str, *, audience: str, adapter: str) -> None:
        self._run("stamp_session", [self._session_key(session_id)], audience, adapter)

    def claim_refresh(
        self, session_id: str, *, now: datetime, refreshed_before: datetime, claim_until: datetime
    ) -> bool:
        times = [to_milliseconds(each) for each in (now, refreshed_before, claim_until)]
        return bool(self._run("claim_refresh", [self._session_key(session_id)], *times))

    def save_user(self, user: User, *, now: datetime) -> None:
        self._run(
            "save_user", [self._user_key(user.id)], self._session_key(""), snapshot_of(user), to_milliseconds(now)
        )

    def end_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        keys = [self._session_key(session_id)]
        return bool(self._run("end_session", keys, session_id, self._user_key(""), user_id or ""))

    def end_sessions(self, user_id: str, *, keep: str | None = None) -> list[str]:
        ended = self._run("end_sessions", [self._user_key(user_id)], self._session_key(""), keep or "")
        return [text(each) for each in ended]

    def end_oldest_sessions(
        self, user_id: str, *, keep: int, now: datetime | None = None, spared: str | None = None
    ) -> list[str]:
        prefix, moment = self._session_key(""), to_milliseconds(now or EPOCH)
        ended = self._run("end_oldest_sessions", [self._user_key(user_id)], prefix, keep, moment, spared or "")
        return [text(each) for each in ended]

    def end_all_sessions(self) -> int:
        # Sessions are ended user by user, so that the indexes are updated too.
        pattern = self._user_key("*")
        users = {text(key) for key in self._try(lambda: list(self.client.scan_iter(pattern, count=1000)))}
        return sum(len(self.end_sessions(key.removeprefix(self._user_key("")))) for key in users)

    # Leases, and things that work once

    def lease(self, name: str, *, now: datetime, until: datetime) -> bool:
        times = [to_milliseconds(now), to_milliseconds(until), max(1, _milliseconds(until - now))]
        return bool(self._run("lease", [self._prefix + spent_key(name)], *times))

    def release(self, name: str, *, until: datetime) -> None:
        self._run("release", [self._prefix + spent_key(name)], to_milliseconds(until))

    # Maintenance

    def close(self) -> None:
        if self._own and self._client is not None:
            self._client.close()
            self._client = None  # the client of a cluster cannot be opened again

    def ping(self) -> None:
        self._ask("ping")

    def purge(self, *, now: datetime, limit: int = 1000) -> int:
        """Delete nothing and return 0, since Redis deletes expired keys itself."""
        return 0

    def limits_storage(self) -> LimitsStorage:
        from .redis_limits import RedisLimits

        return RedisLimits(self._run, self._ask, self._prefix)

    def _run(self, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        return self._try(lambda: self.client and self._scripts[script](keys, arguments))

    def _ask(self, command: str, *arguments: Any, **options: Any) -> Any:
        return self._try(lambda: getattr(self.client, command)(*arguments, **options))

    def _try(self, command: Callable[[], Any]) -> Any:
        with measured("store", "redis"):
            try:
                return command()
            except self._errors as error:
                if self._own and "read only replica" in str(error) and hasattr(self._client, "connection_pool"):
                    # The primary has become a replica. A new connection reaches the new primary.
                    self._client.connection_pool.disconnect(inuse_connections=False)
                raise store_error(error) from error

    def _challenge_key(self, id: str) -> str:
        return f"{self._prefix}challenge:{id}"

    def _session_key(self, id: str) -> str:
        return f"{self._prefix}session:{id}"

    def _address_key(self, identifier: str) -> str:
        return f"{self._prefix}address:{identifier}"

    def _user_key(self, id: str) -> str:
        return f"{self._prefix}user:{id}"


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _session(id: str, answer: Mapping[Any, Any] | Sequence[Any]) -> SessionRecord | None:
    found = fields(answer)
    return SessionRecord.from_json({**found, "id": id}) if found else None
