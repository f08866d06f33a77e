"""The session registry: who is signed in where, looked up at every request, ended from anywhere."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock

from flask import current_app

from .clock import EPOCH
from .config import Config
from .exceptions import APIConnectionError, APIError, APITimeout, StoreError
from .signals import emit, session_ended
from .stores.base import SessionRecord, Store
from .upstream.adapters.base import UserAdapter
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
        # However rarely the store is asked, a session in use must be noted as used before it counts as idle.
        self._check = min(config.session_check, config.session_idle / 4)
        self._lock = Lock()
        self._cache: dict[str, _Cached] = {}
        self._fetches: dict[str, Future[SessionRecord | None]] = {}
        self._api_again_at = EPOCH

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

        :raises APIError: the user is older than ``CHATBOTKIT_AUTH_USER_STALE`` and cannot be fetched. The session goes on
            once that works again.
        :raises StoreError: the store cannot be reached.
        """
        now = self._clock()
        id = session_id(token)
        cached = self._cache.get(id)
        if cached is None or now - cached.read_at >= self._check:
            record = self._store.get_session(id, now=now)
            if record is None:
                self._forget(id)
                return None
            cached = self._remember(self._touch(record, now), now)
        record = cached.record
        if record.expires_at <= now:
            return None
        age = now - record.refreshed_at
        if age < self._config.user_refresh:
            return record
        if age >= self._config.user_stale:
            return self._fetch_or_wait(cached, now)
        if now < max(cached.retry_at, self._api_again_at):
            return record
        return self._refresh(cached, now)

    def remember(self, record: SessionRecord) -> None:
        """Keep a row that was just stored, so that this worker's next request need not read it."""
        self._remember(record, self._clock())

    def list(self, user_id: str) -> list[SessionRecord]:
        """Return the sessions of a user, the most recently used first."""
        return self._store.list_sessions(user_id, now=self._clock())

    def end(self, id: str) -> bool:
        """End one session by its id; return whether there was one."""
        ended = self._store.end_session(id)
        # Afterwards, or another request could read the row in between and keep it.
        self._forget(id)
        return ended

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
        except StoreError as error:
            # The row could be read: the page can be shown, and the next request notes the use. Its text alone is logged
            # here and below: the database's own error, from which it was raised, may quote an address or a session.
            _log.warning("the use of a session could not be noted (%s)", error)
        return used

    def _refresh(self, cached: _Cached, now: datetime) -> SessionRecord | None:
        """Fetch the user if nobody else does; whoever does not goes on with what there is."""
        record = cached.record
        if self._config.user_refresh > timedelta(0):
            # Of this worker's requests, those that come meanwhile need not even ask for the task.
            cached.retry_at = now + min(_RETRY, self._config.user_refresh)
            due = now - self._config.user_refresh
            try:
                # Of all workers' requests, one has the task. Due is what was read at `due` or earlier.
                claimed = self._store.claim_refresh(
                    record.id,
                    now=now,
                    refreshed_before=due + timedelta(milliseconds=1),
                    claim_until=now + min(_CLAIM, self._config.user_refresh),
                )
            except StoreError as error:
                _log.warning("the refresh of a user could not be claimed (%s)", error)
                claimed = False
            if not claimed:
                return record
        try:
            return self._fetch(cached, now)
        except APIError:
            return record

    def _fetch_or_wait(self, cached: _Cached, now: datetime) -> SessionRecord | None:
        """Fetch a user who is too old to be served, or wait for the request of this worker that does."""
        id = cached.record.id
        if now < self._api_again_at:
            raise APIError("the user is too old to be served, and the API could not be reached a moment ago")
        with self._lock:
            known = self._cache.get(id)
            if known is not None and known.record.refreshed_at > cached.record.refreshed_at:
                return known.record  # somebody came back with it since we looked
            others = self._fetches.get(id)
            if others is None:
                mine = self._fetches[id] = Future()
        if others is not None:
            return others.result()
        try:
            mine.set_result(self._fetch(cached, now))
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._fetches[id]
        return mine.result()

    def _fetch(self, cached: _Cached, now: datetime) -> SessionRecord | None:
        record = cached.record
        try:
            user = self._adapter.get(record.user.id)
        except APIError as error:
            _log.warning("user %s could not be refreshed (%s)", record.user.id, error)
            if isinstance(error, (APIConnectionError, APITimeout)):
                # For nobody, for a moment: an API that hangs must not hold one request of each session.
                self._api_again_at = now + min(_RETRY, self._config.user_refresh)
            raise
        if user is None:
            self.end_all(record.user.id, reason="gone")
            self._forget(record.id)
            return None
        try:
            self._store.save_user(user, now=now)
        except StoreError as error:
            _log.warning("the refreshed user could not be stored (%s)", error)
        # Still as of when the row was read: what the API says of the person tells nothing of the session.
        return self._remember(replace(record, user=user, refreshed_at=now), cached.read_at).record

    def _remember(self, record: SessionRecord, read_at: datetime) -> _Cached:
        with self._lock:
            known = self._cache.get(record.id)
            if known is not None and known.record.refreshed_at > record.refreshed_at:
                # A slow reader of the row must not bring an older user back.
                record = replace(record, user=known.record.user, refreshed_at=known.record.refreshed_at)
            cached = _Cached(record, read_at, EPOCH)
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


def _app() -> object:
    return current_app._get_current_object()  # type: ignore[attr-defined]
