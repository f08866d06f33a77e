"""Events in Redis: one sorted set of all of them, and one for each account and address.

They are sorted by the time that the caller passes. A stream would use the clock of Redis.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..clock import to_milliseconds
from .events import Event, EventStore

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT_EACH = 1000
"""How many of the newest events are kept in the set of one account or address."""

_PAGE = 200


class RedisEvents(EventStore):
    """The part of the store in Redis that keeps events."""

    _prefix: str
    _ask: Callable[..., Any]
    _run: Callable[..., Any]

    def add_event(self, event: Event) -> None:
        places, text = self._event_parts(event)

        self._run("add_event", places, to_milliseconds(event.at), text, KEPT_EACH)

    def _event_parts(self, event: Event | None) -> tuple[list[str], str]:
        """Return the keys of the sets that an event belongs to, and its text."""
        if event is None:
            return [], ""
        places = [self._events_key()]
        if event.user_id is not None:
            places.append(self._events_key("user", event.user_id))
        if event.address_key is not None:
            places.append(self._events_key("address", event.address_key))
        # The id comes first, since Redis sorts events of the same millisecond by their text.
        return places, json.dumps({"id": event.id, **event.to_json()}, separators=(",", ":"))

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
        key = self._events_key()
        if user_id is not None:
            key = self._events_key("user", user_id)
        elif address_key is not None:
            key = self._events_key("address", address_key)
        newest = int(before[:13]) if before else "+inf"
        oldest = to_milliseconds(since) if since else "-inf"
        found: list[Event] = []
        start = 0
        while len(found) < limit:
            texts = self._ask("zrevrangebyscore", key, newest, oldest, start=start, num=_PAGE)
            for text in texts:
                event = Event.from_json(json.loads(text))
                if (
                    (before is None or event.id < before)
                    and (kind is None or event.kind == kind)
                    and (address_key is None or event.address_key == address_key)
                ):
                    found.append(event)
            if len(texts) < _PAGE:
                break
            start += _PAGE
        return found[:limit]

    def purge_events(self, *, before: datetime, limit: int = 1000) -> int:
        newest = f"({to_milliseconds(before)}"
        oldest = self._ask("zrangebyscore", self._events_key(), "-inf", newest, start=0, num=limit)
        for text in oldest:
            places, _ = self._event_parts(Event.from_json(json.loads(text)))
            for key in places:
                self._ask("zrem", key, text)
        return len(oldest)

    def _events_key(self, *parts: str) -> str:
        return self._prefix + ":".join(("events", *parts))
