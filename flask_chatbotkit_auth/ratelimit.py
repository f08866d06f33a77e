"""Rate limits: the *limits* library, and a storage for it on the store's own database."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from collections.abc import Callable, Mapping
from functools import cache, cached_property, partial
from typing import Any, cast

import limits
import sqlalchemy as sa
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection

from .database import Database
from .exceptions import ConfigurationError, RateLimited, StoreError


class RateLimiter:
    """The limits of one application, by name: ``request:email``, ``request:ip``, ``verify:email``, ``verify:ip``.

    A name that has no limit lets everything pass.

    :param rates: limits by name, in the notation of the *limits* library.
    :param storage: where to count, an object or URI of the *limits* library.
    :raises ConfigurationError: a limit or the URI is not one that the library knows.
    """

    def __init__(self, rates: Mapping[str, str | None], storage: Storage | str) -> None:
        self._items = {name: _parse(name, rate) for name, rate in rates.items() if rate is not None}
        if isinstance(storage, str):
            storage = _open(storage)
        self._storage = storage
        self._limiter = FixedWindowRateLimiter(storage)

    def hit(self, name: str, key: str) -> None:
        """Count one against the limit ``name`` for ``key``, an identifier or client address.

        Counting and checking are one step, so that any number of workers together never exceed the limit.

        :raises RateLimited: the limit is reached; ``retry_after`` says for how long.
        :raises StoreError: it cannot be counted.
        """
        item = self._items.get(name)
        if item is None:
            return
        hashed = _hashed(key)
        try:
            if self._limiter.hit(item, name, hashed):
                return
            reset = self._limiter.get_window_stats(item, name, hashed).reset_time
        except self._errors as error:
            raise StoreError(f"the rate limits cannot be counted ({type(error).__name__})") from error
        raise RateLimited(max(1, math.ceil(reset - time.time())), name)

    def refund(self, name: str, key: str, hits: int = 1) -> None:
        """Take back so many calls of :meth:`hit`, where the storage can (Memcached cannot) and their window still lasts."""

        def work(item: limits.RateLimitItem) -> None:
            # A new window must not begin below zero: it would let more pass than the limit.
            counted = min(hits, self._storage.get(item.key_for(name, _hashed(key))))
            if counted > 0:
                self._limiter.hit(item, name, _hashed(key), cost=-counted)

        self._quietly(name, work)

    def check(self) -> bool:
        """Return whether the storage answers."""
        return bool(self._storage.check())

    @cached_property
    def _errors(self) -> tuple[type[Exception], ...]:
        errors = self._storage.base_exceptions
        return (*errors, StoreError) if isinstance(errors, tuple) else (errors, StoreError)

    def _quietly(self, name: str, work: Callable[[limits.RateLimitItem], object]) -> None:
        # Called after a success, which a count that stays too high must not turn into a failure.
        item = self._items.get(name)
        if item is not None:
            try:
                work(item)
            except self._errors:
                pass


def client_key(address: str | None) -> str:
    """Return what a client address is counted under: an IPv6 address by its /64, which one customer has whole."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if ip.version == 4:
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))


def _hashed(key: str) -> str:
    # No storage learns an address, and every key is of one length whatever was typed.
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _parse(name: str, rate: str) -> limits.RateLimitItem:
    try:
        return limits.parse(rate)
    except ValueError:
        raise ConfigurationError(
            f'CHATBOTKIT_AUTH_RATE_LIMITS: "{rate}" for {name} is not a limit. Write one such as "5/15minutes".'
        ) from None


def _open(uri: str) -> Storage:
    try:
        return cast(Storage, storage_from_string(uri))
    except (limits.errors.ConfigurationError, ValueError) as error:
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI cannot be opened by the limits library. Give one of its URIs, such as "
            f"redis://host:6379, and install its driver ({type(error).__name__})."
        ) from None


def counters(metadata: sa.MetaData) -> sa.Table:
    """Return the table that counts, of ``metadata``; times are milliseconds since the epoch."""
    name = "chatbotkit_auth_limits"
    if name in metadata.tables:
        return metadata.tables[name]
    return sa.Table(
        name,
        metadata,
        sa.Column("key", sa.String(191), primary_key=True),
        sa.Column("hits", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_bin",
    )


class SQLAlchemyStorage(Storage):
    """A storage of the *limits* library in a SQL database, for its fixed windows.

    By URI its scheme is ``sqlalchemy+`` and a database URL, such as ``sqlalchemy+postgresql+psycopg://host/name``.

    :param uri: such a URI, where no ``database`` is given.
    :param database: the database to count in.
    :param clock: returns seconds since the epoch.
    """

    STORAGE_SCHEME = [  # noqa: RUF012  # the library declares it so
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
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._database = database or Database((uri or "").removeprefix("sqlalchemy+"))
        self._clock = clock
        self._table = table = counters(self._database.metadata)
        key = table.c.key == sa.bindparam("_key")
        self._select = sa.select(table.c.hits, table.c.expires_at).where(key)
        self._hits = sa.select(table.c.hits).where(key)
        self._delete = sa.delete(table).where(key)
        self._upsert = cache(partial(_upsert, table))

    @property
    def base_exceptions(self) -> type[Exception]:
        return StoreError

    def incr(self, key: str, expiry: int, amount: int = 1, **_unused: object) -> int:
        # Before its version 5 the library also passes `elastic_expiry`, always false for a fixed window.
        now = self._clock()
        values = {
            "_key": key,
            "amount": amount,
            # A window never begins below zero: it would let one more pass than the limit.
            "first": max(amount, 0),
            "now": int(now * 1000),
            "until": int((now + expiry) * 1000),
        }

        def work(connection: Connection) -> int:
            returning = connection.dialect.insert_returning
            upsert = self._upsert(connection.dialect.name, returning)
            if returning:
                return int(connection.execute(upsert, values).scalar_one())
            # The upsert locks its row until the commit: what is read is what this hit made.
            connection.execute(upsert, values)
            return int(connection.execute(self._hits, {"_key": key}).scalar_one())

        return self._database.run(work, single=self._database.engine.dialect.insert_returning)

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


_INSERTS: dict[str, Callable[[sa.Table], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
    "mysql": mysql.insert,
    "mariadb": mysql.insert,
}


def _upsert(table: sa.Table, dialect: str, returning: bool) -> Any:
    """Return the statement that counts: a new row, or one more in the row that is there.

    Parameters: ``_key``, ``amount``, ``first`` (what a new window begins with), ``now``, ``until``.
    """
    amount, first = sa.bindparam("amount", type_=sa.Integer), sa.bindparam("first", type_=sa.Integer)
    until = sa.bindparam("until", type_=sa.BigInteger)
    over = table.c.expires_at <= sa.bindparam("now", type_=sa.BigInteger)
    counted = table.c.hits + amount
    # In this order: MySQL assigns from left to right, and `hits` must still see the old `expires_at`.
    change: list[tuple[str, Any]] = [
        ("hits", sa.case((over, first), (counted < 0, 0), else_=counted)),
        ("expires_at", sa.case((over, until), else_=table.c.expires_at)),
    ]
    row = {"key": sa.bindparam("_key"), "hits": first, "expires_at": until}
    insert = _INSERTS.get(dialect)
    if insert is None:
        raise ConfigurationError(
            f"Rate limits cannot be counted in {dialect}. Name another place with CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI."
        )
    upsert = insert(table).values(row)
    if dialect in ("mysql", "mariadb"):
        upsert = upsert.on_duplicate_key_update(change)
    else:
        upsert = upsert.on_conflict_do_update(index_elements=["key"], set_=dict(change))
    return upsert.returning(table.c.hits) if returning else upsert
