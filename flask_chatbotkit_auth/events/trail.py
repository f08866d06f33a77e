"""The audit trail of one application: it writes events into the store, and reads them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from flask import current_app

from ..device import device_name
from ..exceptions import StoreError
from ..identifier import mask
from ..keys import keyed_digest, secret_keys
from ..newest import Newest
from ..remote import client_networks
from ..stores.base import SessionRecord
from ..stores.events import Event, EventStore, event_id

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
"""The most refusals about one address (or one client, if there is no address) that a worker writes in :data:`WINDOW`."""

WINDOW = timedelta(hours=1)
"""The period in which refusals are counted."""

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
        self._refusals: Newest[str, tuple[datetime, int]] = Newest(_KEYS)

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
        """Write an event. If the store fails, this is only logged.

        :param facts: fields of :class:`~flask_chatbotkit_auth.stores.events.Event`. Pass ``identifier`` for the address and
            ``user_agent`` for the device.
        """
        try:
            self._store.add_event(self._event(kind, **facts))
        except StoreError as error:
            _log.warning("the event %s could not be kept (%s)", kind, error)

    def add_refusal(self, kind: str, **facts: Any) -> None:
        """Write an event that anybody can cause, unless :data:`MOST_REFUSALS` were written about the same address."""
        # Of an IPv6 client the widest network counts, since it can use a new address for each request.
        about = facts.get("identifier") or facts.get("user_id") or client_networks(facts.get("ip"))[-1][0]
        if self._may_write(f"{kind}:{about}"):
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
        """Return the events that match every argument, the newest first. Those under an earlier secret key are included.

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
        """Delete at most ``limit`` events that are older than ``CHATBOTKIT_AUTH_EVENTS_KEEP``. Return how many."""
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
            began, count = self._refusals.get(key, (now, 0))
            if now - began >= WINDOW:
                began, count = now, 0
            self._refusals[key] = (began, count + 1)
        return count < MOST_REFUSALS


def _address_key(secret_key: str | bytes, identifier: str) -> str:
    return keyed_digest(secret_key, "events", identifier)
