"""The event contract: what a store remembers of what has happened."""

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
    """Return a new id for something that happened then: ids sort as their times do.

    Within one millisecond those of one process sort as they were made.
    """
    return f"{to_milliseconds(at):013d}{next(_made) % 0x10000:04x}{secrets.token_hex(6)}"


@dataclass(frozen=True)
class Event:
    """One thing that has happened. It holds no code, token or whole address. Times are aware UTC."""

    id: str
    """From :func:`event_id`."""

    at: datetime
    kind: str
    outcome: str = "ok"
    """``"ok"``, ``"refused"`` or ``"failed"``."""

    user_id: str | None = None
    address_key: str | None = field(default=None, repr=False)
    """HMAC of the address."""

    address: str | None = None
    """The address, masked."""

    ip: str | None = field(default=None, repr=False)
    device: str | None = None
    """Browser and system in our words."""

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
    """Remembers events. A store that is one of these, too, can be used with ``CHATBOTKIT_AUTH_EVENTS``.

    Nothing updates an event, and only age deletes it.
    """

    @abstractmethod
    def add_event(self, event: Event) -> None:
        """Remember an event."""

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
        """Return at most ``limit`` events for which all that is given holds, the newest first.

        :param since: at this time or later.
        :param before: the id of an event; only older ones are returned, as the next page.
        """

    @abstractmethod
    def purge_events(self, *, before: datetime, limit: int = 1000) -> int:
        """Forget at most ``limit`` events that happened before then; return how many there were."""
