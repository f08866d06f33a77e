"""One SQL database: its engine, its transactions, its errors.

What the store and the rate limits share. Nothing here knows of a table.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from .exceptions import ConfigurationError, StoreError

Result = TypeVar("Result")

BUSY_TIMEOUT = 5
"""Seconds to wait for SQLite's write lock, for a free connection of the pool and for a server to take a connection."""

_TRIES = 5

_DRIVERS = {"postgres": "psycopg", "postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
_EXTRAS = {"psycopg": "postgresql", "pymysql": "mysql"}

# A transaction that lost against another was rolled back whole, so that running it again is safe: serialization failure
# and deadlock of PostgreSQL; lock wait time-out, deadlock and "record has changed" of MySQL and MariaDB.
_CONFLICTS = {"40001", "40P01", 1205, 1213, 1020}


class Database:
    """A database by its URL, an application's engine, or its Flask-SQLAlchemy ``db``.

    An engine is made at the first use and never before a worker process has forked off with it.

    :param bind: a URL (``postgresql://`` and ``mysql://`` choose our drivers), an ``Engine``, or a ``flask_sqlalchemy.
        SQLAlchemy`` object, whose engine is looked up in the current application at each use.
    :raises ConfigurationError: the URL is not one, or its driver is not installed.
    """

    def __init__(self, bind: object) -> None:
        self.metadata = sa.MetaData()
        self.migrated = False
        """Whether the tables belong to the application's own migrations."""
        self._ready = False
        self._lock = threading.Lock()
        self._made: Engine | None = None
        if isinstance(bind, Engine):
            self._engine: Callable[[], Engine] = lambda: bind
        elif isinstance(bind, (str, URL)):
            url = _check_url(bind)
            self._engine = lambda: self._made or self._make(url)
        elif hasattr(bind, "metadata") and hasattr(bind, "engines"):
            self.metadata = bind.metadata
            self.migrated = self._ready = True
            self._engine = lambda: bind.engine  # type: ignore[attr-defined]
        else:
            raise ConfigurationError(
                "Give a database as a URL, a SQLAlchemy engine, or a Flask-SQLAlchemy object, "
                f"not as {type(bind).__name__}."
            )

    @property
    def engine(self) -> Engine:
        """The engine; for a Flask-SQLAlchemy ``db`` that of the current application."""
        return self._engine()

    def run(self, work: Callable[[Connection], Result]) -> Result:
        """Return ``work(connection)``, run in one transaction; run it again when it lost against another one.

        The first use makes the tables that are missing, unless they are the application's to migrate.

        :raises StoreError: the database cannot be reached or refuses. The transaction is rolled back.
        """
        if not self._ready:
            self.create_tables()
        for tries_left in range(_TRIES - 1, -1, -1):
            try:
                with self.engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not (tries_left and _lost_against_another(error)):
                    raise _store_error(error) from error
            except SQLAlchemyError as error:
                raise _store_error(error) from error
        raise AssertionError("unreachable")

    def create_tables(self) -> None:
        """Make the tables of :attr:`metadata` that are missing, however many processes do so at the same time.

        :raises StoreError: they cannot be made.
        """
        for tries_left in range(_TRIES - 1, -1, -1):
            try:
                with self.engine.begin() as connection:
                    self.metadata.create_all(connection)
                self._ready = True
                return
            except DBAPIError as error:
                # Another process made one between our look and our CREATE TABLE. Its own transaction may still be open,
                # so look again rather than trust the error's text, which differs from engine to engine.
                if not tries_left:
                    raise _store_error(error) from error
            except SQLAlchemyError as error:
                raise _store_error(error) from error

    def _make(self, url: URL) -> Engine:
        with self._lock:
            if self._made is None:
                self._made = _make_engine(url)
                _forget_connections_after_fork(self._made)
            return self._made


def _check_url(text: str | URL) -> URL:
    try:
        url = make_url(text)
        name, _, driver = url.drivername.partition("+")
        if not driver and name in _DRIVERS:
            name = "postgresql" if name == "postgres" else name
            url = url.set(drivername=f"{name}+{_DRIVERS[name]}")
        url.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError):
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_STORE_URL is not a URL of a store. Give one such as sqlite:///file.db, "
            "postgresql+psycopg://user:password@host/database, mysql+pymysql://…, redis://… or memory://."
        ) from None
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(url.get_driver_name())
        cure = f'pip install "flask-chatbotkit-auth[{extra}]"' if extra else f"pip install {error.name}"
        raise ConfigurationError(
            f"The driver of {url.drivername}:// is not installed. Install it with: {cure}"
        ) from None
    return url


def _make_engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        # A server closes idle connections and restarts: ask each one for a sign of life before it is used.
        options: dict[str, Any] = {"pool_pre_ping": True, "pool_timeout": BUSY_TIMEOUT}
        options["connect_args"] = {"connect_timeout": BUSY_TIMEOUT}
        if url.get_backend_name() in ("mysql", "mariadb"):
            # Every step is one conditional write: gap locks of the stricter default only make deadlocks.
            options["isolation_level"] = "READ COMMITTED"
        return sa.create_engine(url, **options)
    if url.database in (None, "", ":memory:"):
        engine = sa.create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(url, pool_timeout=BUSY_TIMEOUT, connect_args={"timeout": BUSY_TIMEOUT})
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # WAL: readers and the one writer do not block each other. With it, NORMAL can lose the last commits to a power cut
    # but never corrupts, and saves a disk flush per commit (sqlite.org/wal.html).
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError:
        pass  # another process is switching at this moment; the mode is kept in the file, so that it counts here too
    connection.execute("PRAGMA synchronous=NORMAL")


def _forget_connections_after_fork(engine: Engine) -> None:
    # Two processes on one socket garble each other; a child opens its own and leaves the parent's alone.
    if hasattr(os, "register_at_fork"):
        reference = weakref.ref(engine)

        def forget() -> None:
            inherited = reference()
            if inherited is not None:
                inherited.dispose(close=False)

        os.register_at_fork(after_in_child=forget)


def _lost_against_another(error: DBAPIError) -> bool:
    original = error.orig
    sqlstate = getattr(original, "sqlstate", None)
    number = original.args[0] if original is not None and original.args else None
    return sqlstate in _CONFLICTS or number in _CONFLICTS


def _store_error(error: SQLAlchemyError) -> StoreError:
    # The driver's own text may quote values; the exception behind `from` is for a debugger, the sentence for a log.
    name = type(error.orig).__name__ if isinstance(error, DBAPIError) else type(error).__name__
    return StoreError(
        f"the database of the sign-in store failed ({name}); check that it runs, that CHATBOTKIT_AUTH_STORE_URL is "
        "right, and that `flask chatbotkit-auth init-db` or your migrations have made its tables"
    )
