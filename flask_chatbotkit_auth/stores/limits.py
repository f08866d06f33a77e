"""The storage of the *limits* library in the SQL database of the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache, partial
from typing import Any

import sqlalchemy as sa
from limits.storage import Storage
from sqlalchemy.engine import Connection

from ..clock import utcnow
from ..exceptions import ConfigurationError, StoreError
from .database import Database
from .inserts import DIALECTS, insert_for, not_flushed


def counters(database: Database) -> sa.Table:
    """Return the table of counts; times are milliseconds since the epoch."""
    name = "chatbotkit_auth_limits"
    if name in database.metadata.tables:
        return database.metadata.tables[name]
    return sa.Table(
        name,
        database.metadata,
        sa.Column("key", sa.String(191), primary_key=True),
        sa.Column("hits", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        **database.table_options,
    )


class SQLAlchemyStorage(Storage):
    """A storage of the *limits* library in a SQL database. It supports fixed windows.

    Its URI is ``sqlalchemy+`` and a database URL, such as ``sqlalchemy+postgresql+psycopg://host/name``.

    :param uri: the URI, if there is no ``database``.
    :param database: the database that has the counts.
    :param clock: returns seconds since the epoch.
    """

    STORAGE_SCHEME: list[str] | None = [  # noqa: RUF012  # declared like this in the library
        f"sqlalchemy+{dialect}"
        for dialect in (
            "sqlite",
            "postgresql",
            "postgresql+psycopg",
            "mysql",
            "mysql+pymysql",
            "mariadb",
            "mariadb+pymysql",
        )
    ]

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,
        *,
        database: Database | None = None,
        clock: Callable[[], float] = lambda: utcnow().timestamp(),
        **options: Any,
    ) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._database = database or Database((uri or "").removeprefix("sqlalchemy+"))
        self._clock = clock
        self._table = table = counters(self._database)
        key = table.c.key == sa.bindparam("_key")
        self._select = sa.select(table.c.hits, table.c.expires_at).where(key)
        self._hits = sa.select(table.c.hits).where(key)
        self._delete = sa.delete(table).where(key)
        self._upsert = cache(partial(_upsert, table))
        self._less = cache(partial(_less, table))

    @property
    def base_exceptions(self) -> type[Exception]:
        return StoreError

    def incr(self, key: str, expiry: int, amount: int = 1, **_unused: object) -> int:
        # Before version 5, the library also passes `elastic_expiry`. For a fixed window, it is always false.
        now = self._clock()
        values = {
            "_key": key,
            "amount": amount,
            "now": int(now * 1000),
            "until": int((now + expiry) * 1000),
        }

        def work(connection: Connection) -> int:
            returning = connection.dialect.insert_returning
            upsert = self._upsert(connection.dialect.name, returning)
            if returning:
                return int(connection.execute(upsert, values).one()[0])
            # The upsert locks its row until the commit, so this reads the count after this hit, and no later one.
            connection.execute(upsert, values)
            return int(connection.execute(self._hits, {"_key": key}).scalar_one())

        return self._database.run(work, single=self._database.engine.dialect.insert_returning)

    def take_back(self, keys: Sequence[str]) -> None:
        """Subtract one from the count of each key, in one statement, but never below zero or after the window."""
        values = {f"_key_{number}": key for number, key in enumerate(keys)}
        less = self._less(len(keys), self._database.engine.dialect.name == "postgresql")
        self._database.change(less, {**values, "now": int(self._clock() * 1000)})

    def together(self) -> AbstractContextManager[None]:
        """Use one connection for all counts and store calls of this thread inside."""
        return self._database.connected()

    def get(self, key: str) -> int:
        row = self._row(key)
        return row[0] if row else 0

    def get_expiry(self, key: str) -> float:
        row = self._row(key)
        return row[1] / 1000 if row else self._clock()

    def check(self) -> bool:
        try:
            self._database.first(self._hits, {"_key": ""})
        except StoreError:
            return False
        return True

    def reset(self) -> int | None:
        return self._database.change(sa.delete(self._table))

    def clear(self, key: str) -> None:
        self._database.change(self._delete, {"_key": key})

    def _row(self, key: str) -> tuple[int, int] | None:
        row = self._database.first(self._select, {"_key": key})
        return (row.hits, row.expires_at) if row and row.expires_at > self._clock() * 1000 else None


def _upsert(table: sa.Table, dialect: str, returning: bool) -> Any:
    """Return the statement that counts: it inserts a row, or adds to the row that exists.

    Parameters: ``_key``, ``amount``, ``now``, ``until``.
    """
    amount = sa.bindparam("amount", type_=sa.Integer)
    until = sa.bindparam("until", type_=sa.BigInteger)
    over = table.c.expires_at <= sa.bindparam("now", type_=sa.BigInteger)
    # The order matters: MySQL assigns from left to right, and `hits` needs the old `expires_at`.
    change: list[tuple[str, Any]] = [
        ("hits", sa.case((over, amount), else_=table.c.hits + amount)),
        ("expires_at", sa.case((over, until), else_=table.c.expires_at)),
    ]
    row = {"key": sa.bindparam("_key"), "hits": amount, "expires_at": until}
    if dialect not in DIALECTS:
        raise ConfigurationError(
            f"Rate limits cannot be counted in {dialect}. Name another place with CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI."
        )
    upsert = insert_for(dialect, table).values(row)
    if dialect in ("mysql", "mariadb"):
        upsert = upsert.on_duplicate_key_update(change)
    else:
        upsert = upsert.on_conflict_do_update(index_elements=["key"], set_=dict(change))
    if not returning:
        return upsert
    return upsert.returning(table.c.hits, *([not_flushed()] if dialect == "postgresql" else ()))


def _less(table: sa.Table, keys: int, ordered: bool) -> sa.sql.dml.UpdateBase:
    """Return the statement that subtracts one from several counts. Parameters: ``_key_0`` and so on, and ``now``.

    Each transaction must lock the rows in the same order, or two of them could deadlock. MySQL uses the order of the primary
    key, as long as no condition makes it use the index of the time. PostgreSQL needs an explicit order.

    :param keys: the number of counts.
    :param ordered: whether the database is PostgreSQL.
    """
    lasts = table.c.expires_at > sa.bindparam("now", type_=sa.BigInteger)
    fewer = sa.case((sa.and_(table.c.hits > 0, lasts), table.c.hits - 1), else_=table.c.hits)
    these = table.c.key.in_([sa.bindparam(f"_key_{number}") for number in range(keys)])
    if ordered:
        these = table.c.key.in_(sa.select(table.c.key).where(these).order_by(table.c.key).with_for_update())
    less = sa.update(table).where(these).values(hits=fewer)
    return less.returning(not_flushed()) if ordered else less
