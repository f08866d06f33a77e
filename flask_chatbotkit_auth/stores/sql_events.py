"""Events in a SQL database: one table, read by account or address through an index."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from ..clock import to_milliseconds
from .database import Database
from .events import Event, EventStore

_BATCH = 200


class SQLEvents(EventStore):
    """The part of the store in a SQL database that keeps events."""

    database: Database
    _events: sa.Table

    def add_event(self, event: Event) -> None:
        self.database.change(sa.insert(self._events), event.to_json())

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
        table = self._events
        statement = sa.select(table).order_by(table.c.at.desc(), table.c.id.desc()).limit(limit)
        wanted = {"user_id": user_id, "address_key": address_key, "kind": kind}
        statement = statement.where(*(table.c[key] == value for key, value in wanted.items() if value is not None))
        if since is not None:
            statement = statement.where(table.c.at >= to_milliseconds(since))
        if before is not None:
            # An id begins with the time. The condition on the time is there since only the time has an index.
            statement = statement.where(table.c.at <= int(before[:13]), table.c.id < before)
        return [Event.from_json(row._asdict()) for row in self.database.all(statement)]

    def purge_events(self, *, before: datetime, limit: int = 1000) -> int:
        table = self._events
        old = table.c.at < to_milliseconds(before)
        forgotten = 0
        while forgotten < limit:
            size = min(limit - forgotten, _BATCH)
            ids = [
                row.id for row in self.database.all(sa.select(table.c.id).where(old).order_by(table.c.at).limit(size))
            ]
            if ids:
                forgotten += self.database.change(sa.delete(table).where(table.c.id.in_(sorted(ids))))
            if len(ids) < size:
                break
        return forgotten
