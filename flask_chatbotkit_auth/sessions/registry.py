"""The session registry: opens, loads, refreshes and ends sessions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from flask import current_app, has_request_context, request

from ..clock import EPOCH
from ..config import Config
from ..exceptions import NoChallenge, SignInDenied, StoreError
from ..keys import is_digest
from ..refresh import Directory, Gone, Known
from ..remote import client_address, client_program
from ..signals import emit, session_ended, user_deleted
from ..stores.base import Challenge, SessionRecord, Store
from ..stores.passkeys import PasskeyStore
from ..stores.records import Client
from ..upstream.adapters.base import UserAdapter
from ..user import User
from .cache import Cache, Cached
from .rows import UNUSED, has_moved, shown, unused
from .second_look import SecondLook
from .tokens import is_token, new_token, session_id

if TYPE_CHECKING:
    from ..stores.events import Event

_log = logging.getLogger("flask_chatbotkit_auth")

_TOUCH = timedelta(minutes=10)
_TOUCH_NEW_ADDRESS = timedelta(minutes=1)
_CLAIM = timedelta(seconds=15)


class ForeignSession(Exception):  # an answer, not an error
    """The session belongs to another application, or to the other kind of account. It is ignored here, and not changed."""


class SessionRegistry:
    """The sessions of an application. They are opened at sign-in and looked up at every request, and any worker can end them.

    A worker reuses a row for ``CHATBOTKIT_AUTH_SESSION_CHECK`` after it has read it. So a session that ends on one worker
    ends on every other worker within that time.

    :param audience: the application. A session of another one is not accepted here.
    :param approve: asks the application whether a person can (still) sign in, with the address that was proved. It raises
        :exc:`~flask_chatbotkit_auth.exceptions.SignInDenied` to refuse.
    """

    def __init__(
        self,
        store: Store,
        adapter: UserAdapter,
        config: Config,
        clock: Callable[[], datetime],
        *,
        audience: str,
        approve: Callable[[str, User], object],
    ) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._audience = audience
        self._kind = adapter.kind
        self._approve = approve
        self._directory = Directory(adapter, clock)
        # Even if the store is rarely asked, the use of a session must be written before it counts as idle.
        self._check = min(config.session_check, config.session_idle / 4)
        self._touch_after = min(_TOUCH, config.session_idle / 4)
        self._completes_with_cap = bool(_taken(store.complete, max_sessions=None))
        self._look_twice = SecondLook()
        self.look_twice_for_code: SecondLook = SecondLook()
        """Looks for a challenge. It is not the one for sessions: a session that has ended must not cost anybody a code."""
        self._cache = Cache()

    # Opening

    def open(
        self,
        challenge: Challenge,
        user: User,
        *,
        method: str = "code",
        client: Client = "browser",
        name: str | None = None,
        event: Callable[[SessionRecord], Event | None] | None = None,
    ) -> tuple[str, SessionRecord]:
        """Complete a verified challenge, once, and open its session.

        :param method: how the address was proved: ``"code"`` or ``"link"``.
        :param client: the kind of client that holds the token.
        :param name: the name that an app gives itself.
        :param event: returns the event that is written with the session, or ``None``.
        :returns: the token, which only the client receives, and the row.
        :raises NoChallenge: another request has completed the challenge, or it has expired.
        """
        token, record = self.draft(user, identifier=challenge.identifier, method=method, client=client, name=name)
        told = None if event is None else event(record)
        more: dict[str, Any] = {} if told is None else {"event": told}
        if self._completes_with_cap:
            more["max_sessions"] = self._config.sessions_max
        if not self._store.complete(challenge.id, record, now=record.created_at, **more):
            raise NoChallenge("this challenge was used before")
        self._note(record)
        if not self._completes_with_cap:
            self._end_oldest(record)
        return token, record

    def add(self, user: User) -> tuple[str, SessionRecord]:
        """Open a session for a person whom the application has identified, without a proof. Return the token and the row."""
        token, record = self.draft(user, identifier=None, method="application")
        self._store.add_session(record, now=record.created_at)
        self.opened(record)
        return token, record

    def move(
        self, user: User, identifier: str, *, client: Client = "browser", name: str | None = None
    ) -> tuple[str, SessionRecord]:
        """Open a session for the new address of an account, which was just proved. End every other session.

        :param client: the kind of client that holds the token.
        :param name: the name that an app gives itself.
        :returns: the token, which only the client receives, and the row.
        :raises StoreError: the store cannot be reached. This can be called again.
        """
        token, record = self.draft(user, identifier=identifier, method="code", client=client, name=name)
        self._store.add_session(record, now=record.created_at)
        self.opened(record)
        self.end_all(user.id, reason="address_changed", keep=record.id)
        return token, record

    def draft(
        self,
        user: User,
        *,
        identifier: str | None,
        method: str,
        client: Client = "browser",
        name: str | None = None,
    ) -> tuple[str, SessionRecord]:
        """Return a new token of 128 random bits, and its row, which is not stored yet.

        :param identifier: the address that was just proved, or ``None``.
        """
        now = self._clock()
        token = new_token(client)
        ends_at = now + self._config.session_lifetime
        record = SessionRecord(
            id=session_id(token),
            user=user,
            created_at=now,
            seen_at=now - UNUSED,
            refreshed_at=now,
            ends_at=ends_at,
            expires_at=min(ends_at, now + self._config.session_idle),
            ip=_client_address(),
            user_agent=client_program(request.user_agent.string) if has_request_context() else None,
            identifier=identifier,
            audience=self._audience,
            adapter=self._kind,
            client=client,
            name=name,
            method=method,
            proved_at=None if identifier is None else now,
        )
        return token, record

    def opened(self, record: SessionRecord) -> None:
        """Keep a row that was just stored, and end the oldest sessions of its account if there are too many."""
        self._note(record)
        self._end_oldest(record)

    def _note(self, record: SessionRecord) -> None:
        self._directory.learn(record.user, record.refreshed_at)
        self._cache.remember(record, record.created_at)

    def _end_oldest(self, record: SessionRecord) -> None:
        if self._config.sessions_max is not None:
            end = self._store.end_oldest_sessions
            more = _taken(end, now=record.created_at, spared=record.id)
            try:
                ended = end(record.user.id, keep=self._config.sessions_max, **more)
                self._cache.forget(*ended)
            except StoreError as error:
                _log.warning("the oldest sessions of user %s could not be ended (%s)", record.user.id, error)

    def confirm(self, record: SessionRecord) -> None:
        """Note that the client has received its token. Only now the session is shown among the person's devices.

        If a worker is killed before this, the session has no holder, and must not confuse the person.
        """
        self._cache.remember(replace(record, seen_at=record.created_at), record.created_at)
        try:
            self._store.touch_session(record.id, seen_at=record.created_at, expires_at=record.expires_at)
        except StoreError as error:
            _log.warning("a new session could not be confirmed (%s)", error)

    # Loading

    def load(self, token: str) -> SessionRecord | None:
        """Return the session of ``token`` with its user, refreshed from the API if that is due, or ``None`` if it has ended.

        :raises ForeignSession: it belongs to another application.
        :raises APIError: the snapshot is older than ``CHATBOTKIT_AUTH_USER_STALE``, and the user cannot be fetched. The
            session works again when the API does.
        :raises StoreError: the store cannot be reached.
        """
        now = self._clock()
        id = session_id(token)
        cached = self._cache.get(id)
        if cached is None or now - cached.read_at >= self._check:
            look = partial(self._store.get_session, id, now=now)
            # The cookies of a living session must not be dropped.
            record = self._look_twice(look) if is_token(token) else look()
            if record is None:
                self._cache.forget(id)
                return None
            cached = self._cache.remember(self._touch(self._stamp(record), now), now)
        elif unused(cached.record):
            cached = self._cache.remember(self._touch(cached.record, now), cached.read_at)
        if cached.record.expires_at <= now:
            return None
        record = self._current(cached, now)
        if record is None:
            return None
        user = shown(record)
        return record if user is record.user else replace(record, user=user)

    def user(self, user_id: str) -> User | None:
        """Return a person by id, as in their sessions, or ``None`` if the account does not exist.

        :raises APIError: there is no snapshot that is new enough, and the API cannot be reached.
        """
        now = self._clock()
        known = self._directory.known(user_id)
        age = timedelta.max if known is None else now - known.refreshed_at
        if known is not None and age < self._config.user_refresh:
            return known.user
        try:
            newest = self._directory.refresh(
                user_id,
                EPOCH if known is None else known.refreshed_at,
                wait=age >= self._config.user_stale,
                take=lambda user: self._take(user, known),
                claim=lambda: True,
            )
        except Gone:
            self._end_gone(user_id, known.user if known else None)
            return None
        except SignInDenied:
            return None
        newest = newest or known
        return newest.user if newest else None

    def last_known(self, user_id: str) -> User | None:
        """Return the newest snapshot of a person without asking the API, or ``None``."""
        known = self._directory.known(user_id)
        if known is not None:
            return known.user
        rows = self._newest(user_id, limit=1)
        return rows[0].user if rows else None

    def list(self, user_id: str, *, limit: int | None = None) -> list[SessionRecord]:
        """Return the sessions of a user that are in use, the most recently used first, at most ``limit``."""
        return [each for each in self._newest(user_id, limit=limit) if not unused(each)]

    def _newest(self, user_id: str, *, limit: int | None) -> Sequence[SessionRecord]:
        more = _taken(self._store.list_sessions, limit=limit)
        return self._store.list_sessions(user_id, now=self._clock(), **more)[:limit]

    # Ending

    def end(self, id: str, *, user_id: str | None = None) -> bool:
        """End a session by its id. If a user is given, it must be theirs. Return whether it existed."""
        ended = is_digest(id) and self._store.end_session(id, user_id=user_id)
        if ended or user_id is None:
            # After the store, since another request could otherwise read the row again and keep it.
            self._cache.forget(id)
        return ended

    def end_all(self, user_id: str, *, reason: str, keep: str | None = None) -> int:
        """End every session of a user except ``keep``, in every application. Return how many there were."""
        ended = self._store.end_sessions(user_id, keep=keep)
        self._cache.forget(*ended)
        if reason in ("gone", "deleted"):
            self._directory.forget(user_id)
        if ended:
            emit(session_ended, _app(), user_id=user_id, reason=reason)
        return len(ended)

    def end_everybody(self) -> int:
        """End every session of every user, in every application. Return how many there were."""
        ended = self._store.end_all_sessions()
        self._cache.clear()
        return ended

    def save(self, user: User) -> None:
        """Write the snapshot ``user`` to all their sessions. End those that were opened for another address.

        If the user is suspended, their pending codes end as well, and no passkey signs them in that was checked before.
        """
        now = self._clock()
        if not user.is_active:
            self.stop_sign_ins(user.id, user.email)
        self._end_moved(user)
        self._store.save_user(user, now=now)
        self._directory.learn(user, now)
        self._cache.save(user, now)

    def stop_sign_ins(self, user_id: str, email: str) -> None:
        """End the pending codes of an address, and let no passkey sign the user in that was checked before.

        Call this before the sessions end: a sign-in that has fetched the user earlier has a session by then, or gets none.
        """
        now = self._clock()
        if email:
            self._store.end_challenges(email, now=now)
        if isinstance(self._store, PasskeyStore):
            self._store.mark_passkeys(user_id, gone_at=now)

    # Steps of loading

    def _stamp(self, record: SessionRecord) -> SessionRecord:
        """Return the row if it belongs to this application. A row of 0.1, which has no audience, gets one.

        :raises ForeignSession: it belongs to another application.
        """
        if record.audience is None:
            try:
                self._store.stamp_session(record.id, audience=self._audience, adapter=self._kind)
            except StoreError as error:
                _log.warning("a session of an earlier release could not be marked (%s)", error)
        elif record.audience != self._audience or record.adapter not in (None, self._kind):
            raise ForeignSession
        return record

    def _touch(self, record: SessionRecord, now: datetime) -> SessionRecord:
        ip = _client_address()
        # From another address, the use is written sooner: the person should see a copied cookie among their devices.
        after = self._touch_after if ip in (None, record.ip) else min(self._touch_after, _TOUCH_NEW_ADDRESS)
        if not unused(record) and now - record.seen_at < after:
            return record
        expires_at = min(record.ends_at, now + self._config.session_idle)
        used = replace(record, seen_at=now, expires_at=expires_at, ip=ip or record.ip)
        try:
            more = _taken(self._store.touch_session, ip=ip)
            self._store.touch_session(record.id, seen_at=now, expires_at=expires_at, **more)
        except StoreError as error:
            # The row was read, so the page can be shown, and the next request writes the use. Here and below, only the text
            # of the `StoreError` is logged: the database's own error behind it may quote an address or a session.
            _log.warning("the use of a session could not be noted (%s)", error)
        return used

    def _current(self, cached: Cached, now: datetime) -> SessionRecord | None:
        """Return the row with the newest snapshot in this worker, fetched from the API if that is due."""
        record = cached.record
        known = self._directory.known(record.user.id)
        if known is not None and known.user.is_active and not record.user.is_active:
            # Another worker has suspended the person. This counts, although the snapshot here may have the later time.
            self._directory.forget(record.user.id)
            known = None
        since = record.refreshed_at if known is None else max(record.refreshed_at, known.refreshed_at)
        age = now - since
        try:
            if age >= self._config.user_refresh:
                known = (
                    self._directory.refresh(
                        record.user.id,
                        since,
                        wait=age >= self._config.user_stale,
                        take=lambda user: self._take(user, known or Known(record.user, since, since), record),
                        claim=lambda: self._claim(record, now),
                    )
                    or known
                )
        except Gone:
            self._end_gone(record.user.id, record.user)
            self._cache.forget(record.id)
            return None
        except SignInDenied:
            return None
        user = record.user
        if known is not None and known.refreshed_at > record.refreshed_at:
            user = known.user
        if has_moved(record, user):
            self._end_moved(user)
            self._cache.forget(record.id)
            return None
        if user is not record.user and known is not None:
            # The other times of the row stay, since the answer of the API says nothing about the session.
            record = cached.record = replace(record, user=user, refreshed_at=known.refreshed_at)
        return record

    def _claim(self, record: SessionRecord, now: datetime) -> bool:
        """Claim the refresh of the user. Of the requests of all workers, one succeeds."""
        if self._config.user_refresh <= timedelta(0):
            return True
        due = now - self._config.user_refresh
        try:
            # A snapshot is due if it was read at `due` or earlier.
            return self._store.claim_refresh(
                record.id,
                now=now,
                refreshed_before=due + timedelta(milliseconds=1),
                claim_until=now + min(_CLAIM, self._config.user_refresh),
            )
        except StoreError as error:
            _log.warning("the refresh of a user could not be claimed (%s)", error)
            return False

    def _take(self, user: User, before: Known | None, record: SessionRecord | None = None) -> datetime | None:
        """Ask the application about a user who was fetched, and write what has changed.

        :returns: when the rows were last written; ``None`` if a hook of the application failed, and nothing was written.
        :raises SignInDenied: the application now refuses the person. Their sessions here have ended.
        """
        proved = (record and record.identifier) or user.email
        try:
            self._approve(proved, user)
        except SignInDenied:
            self._end_ours(user.id)
            raise
        except Exception:  # noqa: BLE001  # the application's own code: anything may come
            _log.exception("sign_in_callback failed at the refresh of user %s", user.id)
            return None
        if before is not None and before.user.email != user.email:
            self._end_moved(user)
        now = self._clock()
        # If only the time has changed, it is written rarely, but early enough for an outage to begin at any time.
        due = before is None or now - before.written_at >= self._config.user_stale / 8
        if before is None or due or before.user.to_json() != user.to_json():
            try:
                self._store.save_user(user, now=now)
            except StoreError as error:
                _log.warning("the refreshed user could not be stored (%s)", error)
            return now
        return before.written_at

    def _end_moved(self, user: User) -> None:
        """End the sessions that were opened for another address than the account has now."""
        moved = [each for each in self._store.list_sessions(user.id, now=self._clock()) if has_moved(each, user)]
        self._end_each(moved, user.id, "address_changed")

    def _end_ours(self, user_id: str) -> None:
        rows = self._store.list_sessions(user_id, now=self._clock())
        self._end_each([each for each in rows if each.audience in (None, self._audience)], user_id, "denied")

    def _end_each(self, rows: Sequence[SessionRecord], user_id: str, reason: str) -> None:
        ended = [each.id for each in rows if self._store.end_session(each.id)]
        self._cache.forget(*(each.id for each in rows))
        if ended:
            emit(session_ended, _app(), user_id=user_id, reason=reason)

    def _end_gone(self, user_id: str, user: User | None) -> None:
        if self.end_all(user_id, reason="gone"):
            emit(user_deleted, _app(), user_id=user_id, user=user, reason="gone")


def _taken(method: Callable[..., object], **arguments: Any) -> dict[str, Any]:
    """Return those of the arguments that a method has. A store that was written for an earlier release lacks some."""
    parameters = signature(method).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}


def _client_address() -> str | None:
    return client_address(request.remote_addr) if has_request_context() else None


def _app() -> object:
    return current_app._get_current_object()  # type: ignore[attr-defined]
