"""Sessions in a SQL database: one table, read by id, or by account through an index."""

from __future__ import annotations

from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..clock import EPOCH, to_milliseconds
from ..user import User
from . import tables
from .base import Store
from .database import Database
from .engines import unhurried
from .records import SessionRecord, snapshot_of

if TYPE_CHECKING:
    from .events import Event

_MANY = 1000
"""The most sessions of one account that are ended at once, to make room for a new one."""


class SQLSessions(Store):
    """The part of the store in a SQL database that keeps sessions."""

    _events: sa.Table

    def __init__(self, database: Database) -> None:
        self.database: Database = database
        self._sessions = sessions = tables.sessions(database)
        # These statements are built once, so that SQLAlchemy compiles each of them once.
        self._add_session = sa.insert(sessions)
        self._session = sa.select(sessions).where(
            sessions.c.id == sa.bindparam("_id"), sessions.c.expires_at > sa.bindparam("now")
        )
        self._theirs = sessions.c.user_id == sa.bindparam("_user_id")
        self._lock_sessions = sa.select(sessions.c.id).where(self._theirs).order_by(sessions.c.id).with_for_update()
        self._touch = cache(partial(tables.touch, sessions))

    def add_session(self, session: SessionRecord, *, now: datetime) -> None:
        self.database.change(self._add_session, _session_values(session))

    def get_session(self, session_id: str, *, now: datetime) -> SessionRecord | None:
        row = self.database.first(self._session, {"_id": session_id, "now": to_milliseconds(now)})
        return SessionRecord.from_json(row._asdict()) if row else None

    def list_sessions(self, user_id: str, *, now: datetime, limit: int | None = None) -> list[SessionRecord]:
        table = self._sessions
        statement = sa.select(table).where(self._live(user_id, now)).order_by(table.c.seen_at.desc()).limit(limit)
        return [SessionRecord.from_json(row._asdict()) for row in self.database.all(statement)]

    def count_sessions(self, user_id: str, *, now: datetime) -> int:
        statement = sa.select(sa.func.count()).select_from(self._sessions).where(self._live(user_id, now))
        row = self.database.first(statement)
        return int(row[0]) if row else 0

    def _live(self, user_id: str, now: datetime) -> sa.ColumnElement[bool]:
        table = self._sessions
        return sa.and_(table.c.user_id == user_id, table.c.expires_at > to_milliseconds(now))

    def touch_session(self, session_id: str, *, seen_at: datetime, expires_at: datetime, ip: str | None = None) -> None:
        until = to_milliseconds(expires_at)
        values = {"_id": session_id, "seen": to_milliseconds(seen_at), "until": until, "day": until // tables.DAY}
        self.database.change(
            self._touch(self.database.engine.dialect.name), {**values, "address": ip[:45] if ip else None}
        )

    def stamp_session(self, session_id: str, *, audience: str, adapter: str) -> None:
        table = self._sessions
        statement = sa.update(table).where(table.c.id == session_id, table.c.audience.is_(None))
        self.database.change(statement.values(audience=audience, adapter=adapter))

    def claim_refresh(
        self, session_id: str, *, now: datetime, refreshed_before: datetime, claim_until: datetime
    ) -> bool:
        table = self._sessions
        statement = (
            sa.update(table)
            .where(
                table.c.id == session_id,
                table.c.refreshed_at < to_milliseconds(refreshed_before),
                table.c.claimed_until <= to_milliseconds(now),
            )
            .values(claimed_until=to_milliseconds(claim_until))
        )
        return bool(self.database.change(statement))

    def save_user(self, user: User, *, now: datetime) -> None:
        table = self._sessions
        values = {"snapshot": snapshot_of(user), "refreshed_at": to_milliseconds(now), "claimed_until": 0}
        self.database.change(sa.update(table).where(table.c.user_id == user.id).values(values))

    def end_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        table = self._sessions
        statement = sa.delete(table).where(table.c.id == session_id)
        if user_id is not None:
            statement = statement.where(table.c.user_id == user_id)
        return bool(self.database.change(statement))

    def end_sessions(self, user_id: str, *, keep: str | None = None) -> list[str]:
        table = self._sessions
        theirs = sa.and_(table.c.user_id == user_id, table.c.id != (keep or ""))

        def work(connection: Connection) -> list[str]:
            if connection.dialect.delete_returning:
                return list(connection.execute(sa.delete(table).where(theirs).returning(table.c.id)).scalars())
            ids = list(connection.execute(sa.select(table.c.id).where(theirs).with_for_update()).scalars())
            connection.execute(sa.delete(table).where(table.c.id.in_(ids)))
            return ids

        return self.database.run(work)

    def end_oldest_sessions(
        self, user_id: str, *, keep: int, now: datetime | None = None, spared: str | None = None
    ) -> list[str]:
        oldest = self._oldest(user_id, keep, now or EPOCH, spared)
        if not self.database.all(oldest):
            return []

        def work(connection: Connection) -> list[str]:
            # Two callers that each spare a session must not end each other's.
            connection.execute(self._lock_sessions, {"_user_id": user_id})
            return self._end(connection, oldest)

        return self.database.run(work)

    def _oldest(self, user_id: str, keep: int, now: datetime, spared: str | None) -> sa.Select[tuple[str]]:
        table = self._sessions
        theirs = sa.select(table.c.id).where(self._live(user_id, now))
        order = sa.desc(table.c.id == (spared or "")), table.c.created_at.desc(), table.c.id
        return theirs.order_by(*order).offset(keep).limit(_MANY)

    def _end(self, connection: Connection, which: sa.Select[tuple[str]]) -> list[str]:
        ids = sorted(row.id for row in connection.execute(which))
        if ids:
            connection.execute(sa.delete(self._sessions).where(self._sessions.c.id.in_(ids)))
        return ids

    def end_all_sessions(self) -> int:
        def work(connection: Connection) -> int:
            with unhurried(connection):  # millions of rows may take longer than a page may wait
                return connection.execute(sa.delete(self._sessions)).rowcount

        return self.database.run(work, single=True)

    def _insert_session(self, connection: Connection, session: SessionRecord, event: Event | None) -> None:
        """Add a session, and its event if there is one, in a transaction."""
        connection.execute(self._add_session, _session_values(session))
        if event is not None:
            connection.execute(sa.insert(self._events), event.to_json())


def _session_values(record: SessionRecord) -> dict[str, object]:
    values = {**record.to_json(), "claimed_until": 0, "expires_day": to_milliseconds(record.expires_at) // tables.DAY}
    # Text from a client is cut to the length of the column.
    for key, room in (("ip", 45), ("user_agent", 400), ("name", 64)):
        values[key] = values[key] and values[key][:room]
    return values
