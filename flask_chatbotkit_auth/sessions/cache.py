"""The rows that a worker has read lately, so that it does not ask the store at every request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock

from ..newest import Newest
from ..stores.base import SessionRecord
from ..user import User

_CACHE_SIZE = 10_000


@dataclass
class Cached:
    """A row, and when it was read."""

    record: SessionRecord
    read_at: datetime


class Cache:
    """Rows by the id of their session. When it is full, the one that was kept first leaves."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: Newest[str, Cached] = Newest(_CACHE_SIZE)

    def get(self, id: str) -> Cached | None:
        """Return a row, however old it is, or ``None``."""
        return self._rows.get(id)

    def remember(self, record: SessionRecord, read_at: datetime) -> Cached:
        """Keep a row that was read, or written, at ``read_at``."""
        cached = Cached(record, read_at)
        with self._lock:
            self._rows[record.id] = cached
        return cached

    def forget(self, *ids: str) -> None:
        """Forget the rows of sessions that have ended."""
        with self._lock:
            for id in ids:
                self._rows.pop(id, None)

    def clear(self) -> None:
        """Forget every row."""
        with self._lock:
            self._rows.clear()

    def save(self, user: User, now: datetime) -> None:
        """Write the snapshot ``user`` to all their rows."""
        with self._lock:
            for cached in self._rows.values():
                if cached.record.user.id == user.id:
                    cached.record = replace(cached.record, user=user, refreshed_at=now)
