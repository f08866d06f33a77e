"""The store in a SQL database: SQLite, PostgreSQL, MariaDB or MySQL."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..clock import to_milliseconds
from . import tables
from .base import Store
from .database import Database
from .inserts import insert_unless_there
from .limits import SQLAlchemyStorage, counters
from .records import spent_id
from .sql_challenges import SQLChallenges
from .sql_events import SQLEvents
from .sql_passkeys import SQLPasskeys

if TYPE_CHECKING:
    from limits.storage import Storage as LimitsStorage

_BATCH = 200


class SQLAlchemyStore(SQLChallenges, SQLPasskeys, SQLEvents, Store):
    """Stores everything in seven tables, whose names begin with ``chatbotkit_auth_``.

    The tables are created at the first use. With a Flask-SQLAlchemy ``db``, they are added to its metadata instead, and the
    application creates them with its migrations or ``db.create_all()``.

    :param bind: a database URL, a SQLAlchemy ``Engine``, or a Flask-SQLAlchemy ``db``.
    :param pool: the most connections that a worker can hold at once, if ``bind`` is a URL.
    :raises ConfigurationError: the URL is wrong, or its driver is not installed. The text names the extra to install.
    """

    def __init__(self, bind: object, *, pool: int = 5) -> None:
        super().__init__(Database(bind, pool=pool))
        self._spent = tables.spent(self.database)
        self._counters = counters(self.database)
        self._passkeys = tables.passkeys(self.database)
        self._events = tables.events(self.database)
        self._schema = tables.schema(self.database)

    # Leases, and things that work once

    def lease(self, name: str, *, now: datetime, until: datetime) -> bool:
        return self.database.run(lambda connection: self._spend(connection, name, now, until))

    def _spend(self, connection: Connection, name: str, now: datetime, until: datetime) -> bool:
        """Mark a name as used. Return whether it was free. Wait for another transaction that does the same."""
        table = self._spent
        values = {"id": spent_id(name), "expires_at": to_milliseconds(until)}
        over = sa.update(table).where(table.c.id == values["id"], table.c.expires_at <= to_milliseconds(now))
        if connection.execute(over.values(expires_at=values["expires_at"])).rowcount:
            return True
        return bool(connection.execute(insert_unless_there(connection, table).values(values)).rowcount)

    def release(self, name: str, *, until: datetime) -> None:
        table = self._spent
        mine = sa.and_(table.c.id == spent_id(name), table.c.expires_at == to_milliseconds(until))
        self.database.change(sa.delete(table).where(mine))

    # Maintenance

    def setup(self) -> None:
        self.database.create_tables()

    def close(self) -> None:
        self.database.close()

    def ping(self) -> None:
        # Each table is read with every column, since the store does not work without them.
        for table in self.database.metadata.tables.values():
            if table.name.startswith("chatbotkit_auth_"):
                (key,) = table.primary_key
                nobody = -1 if isinstance(key.type, sa.Integer) else ""
                self.database.first(sa.select(table).where(key == nobody))

    def purge(self, *, now: datetime, limit: int = 1000) -> int:
        moment = to_milliseconds(now)
        forgotten = 0
        for table in (self._challenges, self._counters, self._spent):
            found = sa.select(*table.primary_key).order_by(table.c.expires_at)
            forgotten += self._purge(table, found, moment, limit - forgotten)
        ids, day = self._sessions.c.id, self._sessions.c.expires_day
        # Sessions from 0.1 have no day.
        for due in (day <= moment // tables.DAY, day.is_(None)):
            forgotten += self._purge(self._sessions, sa.select(ids).where(due).order_by(day), moment, limit - forgotten)
        return forgotten

    def limits_storage(self) -> LimitsStorage:
        return SQLAlchemyStorage(database=self.database)

    def _purge(self, table: sa.Table, found: sa.Select[Any], now: int, limit: int) -> int:
        (key,) = table.primary_key
        expired = table.c.expires_at <= now
        forgotten = 0
        # Each batch is its own transaction, so that no lock is held for long.
        while forgotten < limit:
            size = min(limit - forgotten, _BATCH)
            keys = [row[0] for row in self.database.all(found.where(expired).limit(size))]
            if keys:
                # The condition is repeated, since a session may have been used after the SELECT.
                forgotten += self.database.change(sa.delete(table).where(key.in_(sorted(keys)), expired))
            if len(keys) < size:
                break
        return forgotten
