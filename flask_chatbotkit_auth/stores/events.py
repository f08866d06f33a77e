"""The contract of a store that keeps events."""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

from ..clock import from_milliseconds, to_milliseconds

_made = count()


def event_id(at: datetime) -> str:
    """Return a new id for an event at that time. Ids sort by time.

    Ids of the same millisecond and process sort in the order in which they were made.
    """
    return f"{to_milliseconds(at):013d}{next(_made) % 0x10000:04x}{secrets.token_hex(6)}"


@dataclass(frozen=True)
class Event:
    """An event. It contains no code, no token and no whole address. Times are aware UTC."""

    id: str
    """From :func:`event_id`."""

    at: datetime
    kind: str
    outcome: str = "ok"
    """``"ok"``, ``"refused"`` or ``"failed"``."""

    user_id: str | None = None
    address_key: str | None = field(default=None, repr=False)
    """The HMAC of the address."""

    address: str | None = None
    """The address, masked."""

    ip: str | None = field(default=None, repr=False)
    device: str | None = None
    """The name of browser and system."""

    method: str | None = None
    session_id: str | None = field(default=None, repr=False)
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return every field, the time in milliseconds since the epoch, ``detail`` as text."""
        detail = json.dumps(dict(self.detail), separators=(",", ":")) if self.detail else None
        return {**vars(self), "at": to_milliseconds(self.at), "detail": detail}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Event:
        """Return the event that :meth:`to_json` wrote."""
        detail = json.loads(record["detail"]) if record["detail"] else {}
        return cls(**{**record, "at": from_milliseconds(record["at"]), "detail": detail})


class EventStore(ABC):
    """Stores events. A store that also inherits from this class can be used with ``CHATBOTKIT_AUTH_EVENTS``.

    Events are never updated, and only deleted by age.
    """

    @abstractmethod
    def add_event(self, event: Event) -> None:
        """Add an event."""

    @abstractmethod
    def events(
        self,
        *,
        user_id: str | None = None,
        address_key: str | None = None,
        kind: str | None = None,
        since: datetime | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """Return at most ``limit`` events that match every argument, the newest first.

        :param since: only events at this time or later.
        :param before: the id of an event. Only older events are returned, for the next page.
        """

    @abstractmethod
    def purge_events(self, *, before: datetime, limit: int = 1000) -> int:
        """Delete at most ``limit`` events from before then. Return how many were deleted."""
