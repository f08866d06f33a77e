"""A store in the memory of the process, for tests and for trying things out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING

from .document_passkeys import DocumentPasskeys
from .events import Event, EventStore
from .records import KEPT
from .steps import Change, Step

if TYPE_CHECKING:
    from limits.storage import Storage as LimitsStorage

_FOREVER = datetime.max.replace(tzinfo=UTC)


class MemoryStore(DocumentPasskeys, EventStore):
    """Stores everything in this process. It is not shared between workers, and is lost at a restart."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._documents: dict[str, tuple[str | None, datetime]] = {}

    def read(self, key: str) -> str | None:
        found = self._documents.get(key)
        return found[0] if found else None

    def swap(self, changes: Mapping[str, Change]) -> bool:
        with self._lock:
            if any(self.read(key) != change.old for key, change in changes.items()):
                return False
            # All changes at once, since readers take no lock.
            self._documents.update({key: (change.new, change.expires_at) for key, change in changes.items()})
            for key in [key for key, change in changes.items() if change.new is None]:
                del self._documents[key]
            return True

    def keys(self, prefix: str) -> list[str]:
        with self._lock:
            return [key for key in self._documents if key.startswith(prefix)]

    def ping(self) -> None:
        """Do nothing: memory always answers."""

    def purge(self, *, now: datetime, limit: int = 1000) -> int:
        with self._lock:
            # The caller decides how long a challenge is kept.
            ended = [
                key
                for key, (_, expires_at) in self._documents.items()
                if expires_at <= (now + KEPT if key.startswith("challenge:") else now)
            ]
            lists = [key for key in ended if key.startswith(("address:", "user:"))]
            things = [key for key in ended if key not in lists][:limit]
            for key in (*lists, *things):
                del self._documents[key]
            return len(things)

    def limits_storage(self) -> LimitsStorage:
        from limits.storage import MemoryStorage

        return MemoryStorage()

    # Events

    def add_event(self, event: Event) -> None:
        step = Step(self)
        self.remember(step, event)
        self.swap(step.changes)

    def remember(self, step: Step, event: Event | None) -> None:
        if event is not None:
            step.write(f"event:{event.id}", event.to_json(), _FOREVER)

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
        wanted = {"user_id": user_id, "address_key": address_key, "kind": kind}
        found = [
            event
            for event in self._all_events()
            if all(value is None or getattr(event, key) == value for key, value in wanted.items())
            and (since is None or event.at >= since)
            and (before is None or event.id < before)
        ]
        return found[:limit]

    def purge_events(self, *, before: datetime, limit: int = 1000) -> int:
        old = [event.id for event in reversed(self._all_events()) if event.at < before][:limit]
        return sum(self._documents.pop(f"event:{id}", None) is not None for id in old)

    def _all_events(self) -> list[Event]:
        """Return all events, the newest first."""
        texts = [self.read(key) for key in sorted(self.keys("event:"), reverse=True)]
        return [Event.from_json(json.loads(text)) for text in texts if text]
