"""The audit trail: receivers of our own signals, which write what has happened into the store.

Imported only where ``CHATBOTKIT_AUTH_EVENTS`` is on. A row holds no code, no token and no whole address. Writing is best
effort: a store that is down loses events and changes no answer. Only a sign-in by code or link is written in the same
transaction as its session.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, cast

from flask import Flask, current_app

from . import signals
from .device import device_name
from .exceptions import ConfigurationError, RateLimited, SignInDenied, SignUpDisabled, StoreError
from .identifier import mask
from .keys import keyed_digest, secret_keys
from .stores.base import SessionRecord, Store
from .stores.events import Event, EventStore, event_id

_log = logging.getLogger("flask_chatbotkit_auth")

KINDS = (
    "code_sent",
    "code_refused",
    "sign_in",
    "sign_in_failed",
    "sign_out",
    "sessions_ended",
    "passkey_added",
    "passkey_removed",
    "passkey_refused",
    "app_session_added",
    "link_used",
    "email_changed",
    "user_created",
    "user_updated",
    "user_deleted",
    "limit_reached",
    "notice_sent",
    "notice_failed",
)
"""Every kind of event."""

MOST_REFUSALS = 30
"""Refusals about one address (or one client, where there is no address) that a worker writes in :data:`WINDOW`."""

WINDOW = timedelta(hours=1)
_KEYS = 10_000


class Trail:
    """Writes events for one application, and reads them.

    :param clock: returns the time now, aware, in UTC.
    :param keep: how long an event is kept.
    """

    def __init__(self, store: EventStore, clock: Callable[[], datetime], keep: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._keep = keep
        self._lock = Lock()
        self._refusals: OrderedDict[str, tuple[datetime, int]] = OrderedDict()

    def of_sign_in(self, session: SessionRecord) -> Event:
        """Return the event of a sign-in, for the transaction that writes its session."""
        return self._event(
            "sign_in",
            user_id=session.user.id,
            identifier=session.identifier,
            ip=session.ip,
            user_agent=session.user_agent,
            method=session.method,
            session_id=session.id,
        )

    def add(self, kind: str, **facts: Any) -> None:
        """Write an event. A failure is logged, and raised to nobody.

        :param facts: the fields of :class:`~flask_chatbotkit_auth.stores.events.Event`, with ``identifier`` for the address
            and ``user_agent`` for the device.
        """
        try:
            self._store.add_event(self._event(kind, **facts))
        except StoreError as error:
            _log.warning("the event %s could not be kept (%s)", kind, error)

    def add_refusal(self, kind: str, **facts: Any) -> None:
        """Write an event that anybody can cause again and again: so many for each address, and no more."""
        if self._may_write(f"{kind}:{facts.get('identifier') or facts.get('user_id') or facts.get('ip')}"):
            self.add(kind, **facts)

    def of_person(self, user_id: str, *, before: str | None = None, limit: int = 100) -> list[Event]:
        """Return the events of an account, the newest first.

        :param before: the id of an event; only older ones are returned.
        :raises StoreError: the store cannot be reached.
        """
        return self._store.events(user_id=user_id, before=before, limit=limit)

    def find(
        self,
        *,
        user_id: str | None = None,
        identifier: str | None = None,
        kind: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """Return events for which all that is given holds, the newest first; those under an earlier secret key as well.

        :raises StoreError: the store cannot be reached.
        """
        keys: Sequence[str | None] = [None]
        if identifier is not None:
            keys = [_address_key(key, identifier) for key in secret_keys(current_app.config)]
        found = [
            event
            for key in keys
            for event in self._store.events(user_id=user_id, address_key=key, kind=kind, since=since, limit=limit)
        ]
        return sorted(found, key=lambda each: each.id, reverse=True)[:limit]

    def purge(self, *, limit: int) -> int:
        """Forget at most ``limit`` events that are older than ``CHATBOTKIT_AUTH_EVENTS_KEEP``; return how many."""
        return self._store.purge_events(before=self._clock() - self._keep, limit=limit)

    def _event(
        self,
        kind: str,
        *,
        outcome: str = "ok",
        identifier: str | None = None,
        user_agent: str | None = None,
        detail: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Event:
        now = self._clock()
        keys = secret_keys(current_app.config)
        return Event(
            id=event_id(now),
            at=now,
            kind=kind,
            outcome=outcome,
            address_key=_address_key(keys[0], identifier) if identifier and keys else None,
            address=mask(identifier) if identifier else None,
            device=device_name(user_agent),
            detail=detail or {},
            **fields,
        )

    def _may_write(self, key: str) -> bool:
        now = self._clock()
        with self._lock:
            began, count = self._refusals.pop(key, (now, 0))
            if now - began >= WINDOW:
                began, count = now, 0
            self._refusals[key] = (began, count + 1)
            while len(self._refusals) > _KEYS:
                self._refusals.popitem(last=False)
        return count < MOST_REFUSALS


def start(app: Flask, store: Store, clock: Callable[[], datetime], keep: timedelta) -> Trail:
    """Return the trail of an application, after having it listen to our signals.

    :raises ConfigurationError: the application's store does not keep events.
    """
    if not isinstance(store, EventStore):
        raise ConfigurationError(
            f"CHATBOTKIT_AUTH_EVENTS: {type(store).__name__} does not keep events. Make it an EventStore as well, or use a "
            "store of ours."
        )
    trail = Trail(cast(EventStore, store), clock, keep)
    # Kept by the trail, which the application keeps: a signal holds its receivers weakly.
    receivers = [(signal, _receiver(trail, add)) for signal, add in _ADDED.items()]
    for signal, receiver in receivers:
        getattr(signals, signal).connect(receiver, app)
    app.extensions["chatbotkit_auth_events"] = receivers
    return trail


def _receiver(trail: Trail, add: Callable[..., None]) -> Callable[..., None]:
    def receive(_app: object, ip: str | None = None, user_agent: str | None = None, **data: Any) -> None:
        add(trail, {"ip": ip, "user_agent": user_agent}, **data)

    return receive


def _address_key(secret_key: str | bytes, identifier: str) -> str:
    return keyed_digest(secret_key, "events", identifier)


def _reason(error: Any) -> dict[str, Any]:
    # Its code alone: the text of an application's own exception may hold anything.
    return {"reason": getattr(error, "error_code", type(error).__name__)}


Where = dict[str, Any]


def _code_sent(trail: Trail, where: Where, *, identifier: str, **_more: Any) -> None:
    trail.add("code_sent", identifier=identifier, **where)


def _code_failed(trail: Trail, where: Where, *, stage: str, identifier: str, error: Any, **_more: Any) -> None:
    # A limit has an event of its own, once in its window.
    if not isinstance(error, RateLimited):
        detail = {"stage": stage, **_reason(error)}
        trail.add_refusal("code_refused", outcome="refused", identifier=identifier, detail=detail, **where)


def _signed_in(trail: Trail, where: Where, *, user: Any, method: str, **_more: Any) -> None:
    if method not in ("code", "link"):  # those are written with their session
        trail.add("sign_in", user_id=user.id, identifier=user.email, method=method, **where)


def _sign_in_failed(trail: Trail, where: Where, *, identifier: str | None, error: Any, **_more: Any) -> None:
    outcome = "refused" if isinstance(error, (SignInDenied, SignUpDisabled)) else "failed"
    trail.add_refusal("sign_in_failed", outcome=outcome, identifier=identifier, detail=_reason(error), **where)


def _sessions_ended(trail: Trail, where: Where, *, user_id: str, reason: str, **_more: Any) -> None:
    trail.add("sessions_ended", user_id=user_id, detail={"reason": reason}, **where)


def _passkey_removed(trail: Trail, where: Where, *, passkey: Any, **_more: Any) -> None:
    trail.add("passkey_removed", user_id=passkey.user_id, **where)


def _passkey_refused(trail: Trail, where: Where, *, error: Any, user_id: str | None = None, **_more: Any) -> None:
    trail.add_refusal("passkey_refused", outcome="refused", user_id=user_id, detail=_reason(error), **where)


def _email_changed(trail: Trail, where: Where, *, user: Any, before: str, **_more: Any) -> None:
    trail.add("email_changed", user_id=user.id, identifier=user.email, detail={"before": mask(before)}, **where)


def _user_updated(trail: Trail, where: Where, *, user: Any, fields: list[str], **_more: Any) -> None:
    trail.add("user_updated", user_id=user.id, identifier=user.email, detail={"fields": fields}, **where)


def _user_deleted(trail: Trail, where: Where, *, user_id: str, user: Any = None, **_more: Any) -> None:
    trail.add("user_deleted", user_id=user_id, identifier=user.email if user else None, **where)


def _limit_reached(trail: Trail, where: Where, *, limit: str, identifier: str, **_more: Any) -> None:
    trail.add("limit_reached", outcome="refused", identifier=identifier, detail={"limit": limit}, **where)


def _notice(event: str, outcome: str) -> Callable[..., None]:
    def add(trail: Trail, where: Where, *, kind: str, user: Any, **_more: Any) -> None:
        detail = {"notice": kind}
        trail.add(event, outcome=outcome, user_id=user.id, identifier=user.email, detail=detail, **where)

    return add


def _about_a_user(event: str) -> Callable[..., None]:
    def add(trail: Trail, where: Where, *, user: Any, **_more: Any) -> None:
        trail.add(event, user_id=user.id, identifier=user.email, **where)

    return add


_ADDED: dict[str, Callable[..., None]] = {
    "code_sent": _code_sent,
    "code_failed": _code_failed,
    "user_signed_in": _signed_in,
    "sign_in_failed": _sign_in_failed,
    "user_signed_out": _about_a_user("sign_out"),
    "session_ended": _sessions_ended,
    "passkey_added": _about_a_user("passkey_added"),
    "passkey_removed": _passkey_removed,
    "passkey_refused": _passkey_refused,
    "app_session_added": _about_a_user("app_session_added"),
    "link_used": _about_a_user("link_used"),
    "email_changed": _email_changed,
    "user_created": _about_a_user("user_created"),
    "user_updated": _user_updated,
    "user_deleted": _user_deleted,
    "limit_reached": _limit_reached,
    "notice_sent": _notice("notice_sent", "ok"),
    "notice_failed": _notice("notice_failed", "failed"),
}
"""What each signal adds, by its name in :mod:`~flask_chatbotkit_auth.signals`."""
