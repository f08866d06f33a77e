"""The store in Redis: one hash for each challenge and session, each step a script, keys that expire by themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..clock import from_milliseconds, to_milliseconds
from ..exceptions import ConfigurationError, StoreError
from ..user import User
from . import snapshot
from .base import MAX_CODES, Attempt, Challenge, Outcome, SessionRecord, State, Store
from .lua import SCRIPTS

if TYPE_CHECKING:
    import redis
    from limits.storage import Storage as LimitsStorage

TIMEOUT = 5
"""Seconds to wait for Redis to take a connection, and to answer."""

_IDLE = 15
"""Seconds after which a connection is asked for a sign of life before it is used."""

_KEPT = timedelta(hours=1)
"""How long a challenge is kept past its lifetime, so that a late visitor reads "expired" and not "unknown"."""


class RedisStore(Store):
    """Remembers in Redis 5 or newer, or in what speaks its protocol; not in a cluster.

    Let Redis keep what it is given: with an eviction policy such as ``allkeys-lru`` it forgets sessions when it is full.

    :param bind: the URL of a server, such as ``redis://host:6379/0``, ``rediss://…`` or ``unix://…``, or a ``redis.Redis``.
        A client of the application's keeps its own time-outs and retries; let it retry nothing, since a code that is sent
        again is counted again.
    :param prefix: begins every key.
    :raises ConfigurationError: the URL is wrong, or the driver is not installed.
    """

    def __init__(self, bind: str | redis.Redis, prefix: str = "chatbotkit-auth:") -> None:
        try:
            import redis
        except ModuleNotFoundError:
            raise ConfigurationError(
                'The driver of redis:// is not installed. Install it with: pip install "flask-chatbotkit-auth[redis]"'
            ) from None
        self._error = redis.RedisError
        self._own = isinstance(bind, str)
        self.client: Any
        if isinstance(bind, str):
            self.client = _connect(bind)
        elif isinstance(bind, redis.Redis):
            self.client = bind
        else:
            raise ConfigurationError(f"Give Redis as a URL or a redis.Redis, not as {type(bind).__name__}.")
        self._prefix = prefix
        self._scripts = {name: self.client.register_script(text) for name, text in SCRIPTS.items()}

    # Challenges

    def add_challenge(self, challenge: Challenge, digest: str) -> None:
        expires_at = to_milliseconds(challenge.expires_at)
        fields = {
            "identifier": challenge.identifier,
            "state": challenge.state.value,
            "attempts": challenge.attempts,
            "sends": challenge.sends,
            "sent_at": to_milliseconds(challenge.sent_at),
            "expires_at": expires_at,
            # The newest first: pairs of a digest and its expiry, which is text, since Lua's numbers lose digits in JSON.
            "codes": json.dumps([[digest, str(expires_at)]]),
        }
        lasts = challenge.expires_at - challenge.sent_at + _KEPT
        self._run("add_challenge", [self._challenge_key(challenge.id)], _milliseconds(lasts), *_flat(fields))

    def get_challenge(self, challenge_id: str) -> Challenge | None:
        fields = _fields(self._ask(self.client.hgetall, self._challenge_key(challenge_id)))
        if not fields:
            return None
        return Challenge(
            id=challenge_id,
            identifier=fields["identifier"],
            sent_at=_time(fields["sent_at"]),
            expires_at=_time(fields["expires_at"]),
            state=State(fields["state"]),
            attempts=int(fields["attempts"]),
            sends=int(fields["sends"]),
        )

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
        lasts = _milliseconds(expires_at - now + _KEPT)
        key = self._challenge_key(challenge_id)
        return bool(self._run("add_code", [key], digest, *times, max_sends, max_attempts, lasts, MAX_CODES))

    def withdraw_code(self, challenge_id: str) -> None:
        self._run("withdraw_code", [self._challenge_key(challenge_id)])

    def try_code(self, challenge_id: str, digests: Sequence[str], *, now: datetime, max_attempts: int) -> Attempt:
        key = self._challenge_key(challenge_id)
        outcome, attempts, again = self._run("try_code", [key], to_milliseconds(now), max_attempts, *digests)
        return Attempt(Outcome(_text(outcome)), int(attempts), bool(again))

    def complete(self, challenge_id: str, session: SessionRecord, *, now: datetime) -> bool:
        keys = [self._challenge_key(challenge_id), self._session_key(session.id), self._user_key(session.user.id)]
        fields: dict[str, str | int] = {
            "user_id": session.user.id,
            "snapshot": snapshot.dump(session.user),
            "created_at": to_milliseconds(session.created_at),
            "seen_at": to_milliseconds(session.seen_at),
            "refreshed_at": to_milliseconds(session.refreshed_at),
            "claimed_until": 0,
            "ends_at": to_milliseconds(session.ends_at),
            "expires_at": to_milliseconds(session.expires_at),
            "ip": session.ip or "",
            "user_agent": session.user_agent or "",
        }
        times = [to_milliseconds(each) for each in (now, session.expires_at, session.ends_at)]
        return bool(self._run("complete", keys, *times, session.id, *_flat(fields)))

    # Sessions

    def get_session(self, session_id: str, *, now: datetime) -> SessionRecord | None:
        record = _session(session_id, self._ask(self.client.hgetall, self._session_key(session_id)))
        return record if record and record.expires_at > now else None

    def list_sessions(self, user_id: str, *, now: datetime) -> list[SessionRecord]:
        found = self._run("list_sessions", [self._user_key(user_id)], self._session_key(""))
        records = [_session(_text(id), fields) for id, fields in zip(found[::2], found[1::2], strict=True)]
        live = [record for record in records if record and record.expires_at > now]
        return sorted(live, key=lambda record: record.seen_at, reverse=True)

    def touch_session(self, session_id: str, *, seen_at: datetime, expires_at: datetime) -> None:
        times = [to_milliseconds(each) for each in (seen_at, expires_at)]
        self._run("touch_session", [self._session_key(session_id)], *times, session_id, self._user_key(""))

    def claim_refresh(
        self, session_id: str, *, now: datetime, refreshed_before: datetime, claim_until: datetime
    ) -> bool:
        times = [to_milliseconds(each) for each in (now, refreshed_before, claim_until)]
        return bool(self._run("claim_refresh", [self._session_key(session_id)], *times))

    def save_user(self, user: User, *, now: datetime) -> None:
        self._run(
            "save_user", [self._user_key(user.id)], self._session_key(""), snapshot.dump(user), to_milliseconds(now)
        )

    def end_session(self, session_id: str) -> bool:
        return bool(self._run("end_session", [self._session_key(session_id)], session_id, self._user_key("")))

    def end_sessions(self, user_id: str, *, keep: str | None = None) -> list[str]:
        ended = self._run("end_sessions", [self._user_key(user_id)], self._session_key(""), keep or "")
        return [_text(each) for each in ended]

    # Care

    def close(self) -> None:
        if self._own:
            self.client.close()

    def ping(self) -> None:
        self._ask(self.client.ping)

    def purge(self, *, now: datetime, limit: int = 1000) -> int:
        """Forget nothing and return 0: in Redis everything expires by itself."""
        return 0

    def limits_storage(self) -> LimitsStorage:
        from limits.storage import RedisStorage

        storage = RedisStorage("redis://", connection_pool=self.client.connection_pool)
        # Before its version 5 the library knows the first of these names only.
        storage.PREFIX = storage.key_prefix = f"{self._prefix}limits"
        return storage

    def _run(self, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        return self._ask(self._scripts[script], keys, arguments)

    def _ask(self, command: Callable[..., Any], *arguments: object) -> Any:
        try:
            return command(*arguments)
        except self._error as error:
            raise StoreError(
                f"Redis, the sign-in store, failed ({type(error).__name__}); check that it runs, has room and may be "
                "written to, and that CHATBOTKIT_AUTH_STORE_URL is right"
            ) from error

    def _challenge_key(self, id: str) -> str:
        return f"{self._prefix}challenge:{id}"

    def _session_key(self, id: str) -> str:
        return f"{self._prefix}session:{id}"

    def _user_key(self, id: str) -> str:
        return f"{self._prefix}user:{id}"


def _connect(url: str) -> redis.Redis:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        return redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            health_check_interval=_IDLE,
            # Never a second time by itself: a code that was sent may have been counted, or accepted, before the
            # connection broke. One that the server dropped while idle is noticed, and replaced, before it is used.
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_STORE_URL is not a URL of Redis. Give one such as redis://:password@host:6379/0."
        ) from None


# Answers: text or bytes, as the application's client has it; a hash from a script is a flat list.


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _fields(answer: Mapping[Any, Any] | Sequence[Any]) -> dict[str, str]:
    pairs = answer.items() if isinstance(answer, Mapping) else zip(answer[::2], answer[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _flat(fields: Mapping[str, str | int]) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]


def _time(value: str) -> datetime:
    return from_milliseconds(int(value))


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _session(id: str, answer: Mapping[Any, Any] | Sequence[Any]) -> SessionRecord | None:
    fields = _fields(answer)
    if not fields:
        return None
    return SessionRecord(
        id=id,
        user=snapshot.load(fields["snapshot"]),
        created_at=_time(fields["created_at"]),
        seen_at=_time(fields["seen_at"]),
        refreshed_at=_time(fields["refreshed_at"]),
        ends_at=_time(fields["ends_at"]),
        expires_at=_time(fields["expires_at"]),
        ip=fields["ip"] or None,
        user_agent=fields["user_agent"] or None,
    )
