"""Sessions: the registry of who is signed in where, and how Flask-Login learns of it."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock

from flask import current_app, g, session
from flask_login import current_user, login_user, logout_user

from .adapters.base import UserAdapter
from .config import Config
from .exceptions import APIError, StoreError
from .signals import emit, session_ended
from .stores.base import SessionRecord, Store
from .user import User

_log = logging.getLogger("flask_chatbotkit_auth")

TOKEN_PREFIX = "cbk-"  # noqa: S105  # marks a token, is none
"""Begins every session token, so that an application's own user ids are never taken for one."""

_TOUCH = timedelta(minutes=1)
_CLAIM = timedelta(seconds=15)
_RETRY = timedelta(seconds=5)
_CACHE_SIZE = 10_000


@dataclass
class _Cached:
    record: SessionRecord
    read_at: datetime
    retry_at: datetime


class SessionRegistry:
    """The sessions of one application: opened at sign-in, looked up at every request, ended from anywhere.

    A worker trusts a row that it read within ``CHATBOTKIT_AUTH_SESSION_CHECK``, and no longer. So what is ended on one
    worker is ended on each other one within that time.
    """

    def __init__(self, store: Store, adapter: UserAdapter, config: Config, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._adapter = adapter
        self._config = config
        self._clock = clock
        self._lock = Lock()
        self._cache: dict[str, _Cached] = {}

    def draft(self, user: User, *, ip: str | None, user_agent: str | None) -> tuple[str, SessionRecord]:
        """Return a new token of 128 random bits and the row for it, which is not stored yet."""
        now = self._clock()
        token = TOKEN_PREFIX + secrets.token_hex(16)
        ends_at = now + self._config.session_lifetime
        record = SessionRecord(
            id=session_id(token),
            user=user,
            created_at=now,
            seen_at=now,
            refreshed_at=now,
            ends_at=ends_at,
            expires_at=min(ends_at, now + self._config.session_idle),
            ip=ip,
            user_agent=user_agent,
        )
        return token, record

    def load(self, token: str) -> SessionRecord | None:
        """Return the session of ``token`` with its user, refreshed from the API when it is time; ``None`` when it ended.

        :raises StoreError: the store cannot be reached.
        """
        now = self._clock()
        id = session_id(token)
        cached = self._cache.get(id)
        if cached is None or now - cached.read_at >= self._config.session_check:
            record = self._store.get_session(id, now=now)
            if record is None:
                self._forget(id)
                return None
            cached = self._remember(self._touch(record, now), now)
        if cached.record.expires_at <= now:
            return None
        if now - cached.record.refreshed_at >= self._config.user_refresh and now >= cached.retry_at:
            return self._refresh(cached, now)
        return cached.record

    def remember(self, record: SessionRecord) -> None:
        """Keep a row that was just stored, so that this worker's next request need not read it."""
        self._remember(record, self._clock())

    def list(self, user_id: str) -> list[SessionRecord]:
        """Return the sessions of a user, the most recently used first."""
        return self._store.list_sessions(user_id, now=self._clock())

    def end(self, id: str) -> bool:
        """End one session by its id; return whether there was one."""
        self._forget(id)
        return self._store.end_session(id)

    def end_all(self, user_id: str, *, reason: str, keep: str | None = None) -> int:
        """End every session of a user but ``keep``; return how many there were."""
        ended = self._store.end_sessions(user_id, keep=keep)
        self._forget(*ended)
        if ended:
            emit(session_ended, _app(), user_id=user_id, reason=reason)
        return len(ended)

    def save(self, user: User) -> None:
        """Make ``user`` the snapshot in every session of theirs."""
        now = self._clock()
        self._store.save_user(user, now=now)
        with self._lock:
            for cached in self._cache.values():
                if cached.record.user.id == user.id:
                    cached.record = replace(cached.record, user=user, refreshed_at=now)

    def _touch(self, record: SessionRecord, now: datetime) -> SessionRecord:
        if now - record.seen_at < min(_TOUCH, self._config.session_idle / 4):
            return record
        used = replace(record, seen_at=now, expires_at=min(record.ends_at, now + self._config.session_idle))
        try:
            self._store.touch_session(record.id, seen_at=used.seen_at, expires_at=used.expires_at)
        except StoreError:
            # The row could be read: the page can be shown, and the next request notes the use.
            _log.warning("the use of a session could not be noted", exc_info=True)
        return used

    def _refresh(self, cached: _Cached, now: datetime) -> SessionRecord | None:
        record = cached.record
        age = now - record.refreshed_at
        # Of this worker's requests, those that come meanwhile go on with what there is.
        cached.retry_at = now + min(_RETRY, self._config.user_refresh)
        always = self._config.user_refresh <= timedelta(0)
        too_old = age >= self._config.user_stale
        if not (always or too_old):
            due = now - self._config.user_refresh
            # Of all workers' requests, one has the task. It is due from `due` on, so anything read before the next tick.
            if not self._store.claim_refresh(
                record.id, now=now, refreshed_before=due + timedelta(milliseconds=1), claim_until=now + _CLAIM
            ):
                return record
        try:
            user = self._adapter.get(record.user.id)
        except APIError as error:
            _log.warning("user %s could not be refreshed (%s)", record.user.id, error)
            if too_old:
                cached.retry_at = now
                return None
            return record
        if user is None:
            self._forget(record.id)
            self.end_all(record.user.id, reason="gone")
            return None
        self._store.save_user(user, now=now)
        return self._remember(replace(record, user=user, refreshed_at=now), now).record

    def _remember(self, record: SessionRecord, now: datetime) -> _Cached:
        cached = _Cached(record, now, now)
        with self._lock:
            while len(self._cache) >= _CACHE_SIZE:
                del self._cache[next(iter(self._cache))]
            self._cache[record.id] = cached
        return cached

    def _forget(self, *ids: str) -> None:
        with self._lock:
            for id in ids:
                self._cache.pop(id, None)


def session_id(token: str) -> str:
    """Return the id under which the store knows the session of ``token``: its SHA-256, in hexadecimal.

    A fast hash is enough, since the token has 128 random bits and cannot be guessed.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def load_user(registry: SessionRegistry, token: str) -> User | None:
    """Return the user behind the token in the browser's cookie; the work of Flask-Login's ``user_loader``."""
    record = registry.load(token)
    if record is None:
        # The session has ended: have the browser forget both cookies, or it would ask anew at every request.
        session.pop("_user_id", None)
        session["_remember"] = "clear"
        return None
    g.chatbotkit_auth_session = record
    return record.user


def current_session() -> SessionRecord | None:
    """Return the session of this request, or ``None`` when nobody of ours is signed in.

    :raises StoreError: the store cannot be reached.
    """
    current_user.is_authenticated  # noqa: B018  # has Flask-Login load the user, and load_user leave the session
    record: SessionRecord | None = g.get("chatbotkit_auth_session")
    return record


def enter(user: object, token: str, record: SessionRecord, *, lifetime: timedelta) -> None:
    """Drop the browser's old Flask session and begin a new one for ``user``, against session fixation (ASVS 7.2.4).

    It holds the token, never anything about the person. Flask-Login's remember cookie carries the token past the end of
    the browser's own session; then the person is signed in, but no longer fresh.
    """
    session.clear()
    login_user(user, remember=True, duration=lifetime)
    session["_user_id"] = token
    regenerate = getattr(current_app.session_interface, "regenerate", None)
    if regenerate is not None:
        regenerate(session)
    g.chatbotkit_auth_session = record


def leave() -> None:
    """Empty the browser's Flask session and have it drop the remember cookie."""
    session.clear()
    logout_user()
    g.pop("chatbotkit_auth_session", None)


def _app() -> object:
    return current_app._get_current_object()  # type: ignore[attr-defined]
