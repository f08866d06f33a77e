"""One SQL database: its engine, its transactions, its errors.

What the store and the rate limits share. Nothing here knows of a table.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, Row, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from .exceptions import ConfigurationError, StoreError

Result = TypeVar("Result")
Values = Mapping[str, object]

BUSY_TIMEOUT = 5
"""Seconds to wait for a lock, for a free connection of the pool and for a server to take a connection."""

_TRIES = 8

_DRIVERS = {"postgres": "psycopg", "postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
_MYSQL = ("mysql", "mariadb")
_EXTRAS = {"psycopg": "postgresql", "pymysql": "mysql"}

# A transaction that lost against another leaves nothing behind once it is rolled back, so that running it again is safe:
# serialization failure and deadlock of PostgreSQL, deadlock and "record has changed" of MySQL and MariaDB.
_CONFLICTS = {"40001", "40P01", 1213, 1020}


class Database:
    """A database by its URL, an application's engine, or its Flask-SQLAlchemy ``db``.

    An engine of our own is made at the first use; a process that forks off later opens its own connections.

    :param bind: a URL (``postgresql://`` and ``mysql://`` choose our drivers), an ``Engine``, or a ``flask_sqlalchemy.
        SQLAlchemy`` object, whose engine is looked up in the current application at each use.
    :raises ConfigurationError: the URL is not one, or its driver is not installed.
    """

    def __init__(self, bind: object) -> None:
        self.metadata = sa.MetaData()
        self.migrated = False
        """Whether the tables belong to the application's own migrations."""
        self.maybe_mysql = True
        """Whether this is MySQL or MariaDB, or may be, where the engine is the application's to choose. To name these to
        SQLAlchemy imports their dialect, which no other worker needs."""
        self._ready = False
        self._lock = threading.Lock()
        self._own: tuple[Engine, Engine] | None = None
        if isinstance(bind, Engine):
            _refuse_autocommit(bind)
            self.maybe_mysql = bind.dialect.name in _MYSQL
            self._engines: Callable[[], tuple[Engine, Engine]] = lambda: (bind, bind)
        elif isinstance(bind, (str, URL)):
            url = _check_url(bind)
            self.maybe_mysql = url.get_backend_name() in _MYSQL
            self._engines = lambda: self._own or self._make(url)
        elif hasattr(bind, "metadata") and hasattr(type(bind), "engines"):
            self.metadata = bind.metadata
            self.migrated = self._ready = True
            self._engines = lambda: (bind.engine, bind.engine)  # type: ignore[attr-defined]
        else:
            raise ConfigurationError(
                "Give a database as a URL, a SQLAlchemy engine, or a Flask-SQLAlchemy object, "
                f"not as {type(bind).__name__}."
            )

    @property
    def table_options(self) -> dict[str, Any]:
        """The options of a table whose texts are compared byte for byte: by default MySQL folds case and accents."""
        options = {"charset": "utf8mb4", "collate": "utf8mb4_bin"}
        dialects = _MYSQL if self.maybe_mysql else ()
        return {f"{dialect}_{name}": value for dialect in dialects for name, value in options.items()}

    @property
    def engine(self) -> Engine:
        """The engine; for a Flask-SQLAlchemy ``db`` that of the current application."""
        return self._engines()[0]

    def run(self, work: Callable[[Connection], Result], *, single: bool = False) -> Result:
        """Return ``work(connection)``, run in one transaction; run it again when it lost against another one.

        The first use makes the tables that are missing, unless they are the application's to migrate.

        :param single: every statement of ``work`` may be a transaction of its own, which on PostgreSQL spares the two
            round trips of BEGIN and COMMIT.
        :raises StoreError: the database cannot be reached or refuses. The transaction is rolled back.
        """
        if not self._ready:
            self.create_tables()
        for tries_left in range(_TRIES - 1, -1, -1):
            try:
                engine, transactional = self._engines()
                # Where they differ, the one for single statements commits by itself, and has nothing to begin or end.
                alone = single and engine is not transactional
                with engine.connect() if alone else transactional.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not (tries_left and _lost_against_another(error)):
                    raise _store_error(error) from error
            except SQLAlchemyError as error:
                raise _store_error(error) from error
        raise AssertionError("unreachable")

    def change(self, statement: sa.Executable, values: Values | None = None) -> int:
        """Run one INSERT, UPDATE or DELETE; return how many rows it met (of an INSERT the number means nothing).

        :raises StoreError: as :meth:`run`.
        """
        return int(self.run(lambda connection: connection.execute(statement, values).rowcount, single=True))

    def first(self, statement: sa.Executable, values: Values | None = None) -> Row[Any] | None:
        """Run one statement; return its first row.

        :raises StoreError: as :meth:`run`.
        """
        return self.run(lambda connection: connection.execute(statement, values).first(), single=True)

    def all(self, statement: sa.Executable, values: Values | None = None) -> Sequence[Row[Any]]:
        """Run one statement; return its rows.

        :raises StoreError: as :meth:`run`.
        """
        return self.run(lambda connection: connection.execute(statement, values).all(), single=True)

    def create_tables(self) -> None:
        """Make the tables and indexes of :attr:`metadata` that are missing, however many processes do so at once.

        Does nothing where they are the application's to migrate.

        :raises StoreError: they cannot be made.
        """
        if self.migrated:
            return
        for tries_left in range(_TRIES - 1, -1, -1):
            try:
                with self._engines()[1].begin() as connection:
                    self.metadata.create_all(connection)
                    # An index of a table that is there may be missing: MySQL and SQLite commit after each of the
                    # statements, and a process may be killed between two.
                    for table in self.metadata.tables.values():
                        for index in sorted(table.indexes, key=lambda each: str(each.name)):
                            index.create(connection, checkfirst=True)
                self._ready = True
                return
            except DBAPIError as error:
                # Another process made one between our look and our CREATE TABLE. Its own transaction may still be open,
                # so look again rather than trust the error's text, which differs from engine to engine.
                if not tries_left:
                    raise _store_error(error) from error
            except SQLAlchemyError as error:
                raise _store_error(error) from error

    def close(self) -> None:
        """Close the connections of an engine of our own; the next use opens new ones."""
        if self._own is not None:
            self._own[0].dispose()
            # A database in memory is gone with its connection.
            self._ready = False

    def _make(self, url: URL) -> tuple[Engine, Engine]:
        with self._lock:
            if self._own is None:
                self._own = _make_engines(url)
                _forget_connections_after_fork(self)
            return self._own

    def _forget_connections(self) -> None:
        # Two processes on one socket garble each other; a child opens its own and leaves the parent's alone. The lock may
        # have been held by a thread that the child does not have.
        self._lock = threading.Lock()
        if self._own is not None:
            self._own[0].dispose(close=False)


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
    except ImportError as error:
        extra = _EXTRAS.get(url.get_driver_name())
        cure = f'pip install "flask-chatbotkit-auth[{extra}]"' if extra else f"pip install {error.name}"
        raise ConfigurationError(
            f"The driver of {url.drivername}:// is not installed. Install it with: {cure}"
        ) from None
    return url


def _refuse_autocommit(engine: Engine) -> None:
    options = engine.get_execution_options()
    level = options.get("isolation_level") or getattr(engine.dialect, "_on_connect_isolation_level", None)
    if level == "AUTOCOMMIT":
        raise ConfigurationError(
            "The engine of the sign-in store commits after each statement, and two of its steps need a transaction. Give "
            'it engine.execution_options(isolation_level="READ COMMITTED").'
        )


def _make_engines(url: URL) -> tuple[Engine, Engine]:
    """Return an engine for single statements and one for transactions; they share their connections."""
    backend = url.get_backend_name()
    if backend == "sqlite":
        engine = _make_sqlite_engine(url)
        return engine, engine.execution_options(isolation_level="SERIALIZABLE")
    # A server closes idle connections and restarts: ask each one for a sign of life before it is used.
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_timeout": BUSY_TIMEOUT, **_DISCREET}
    given = _CONNECT_ARGS.get(url.get_driver_name(), {})
    options["connect_args"] = {key: value for key, value in given.items() if key not in url.query}
    if backend == "postgresql":
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", **options)
        event.listen(engine, "connect", _prepare_postgresql)
        return engine, engine.execution_options(isolation_level="READ COMMITTED")
    # Every step is one conditional write: the gap locks of the stricter default only make deadlocks. Every transaction
    # has ended before its connection goes back to the pool, so that another ROLLBACK there is a wasted round trip.
    engine = sa.create_engine(url, isolation_level="READ COMMITTED", pool_reset_on_return=None, **options)
    return engine, engine


# Errors quote no parameters: among them are addresses and sessions, and an error may be logged.
_DISCREET: dict[str, Any] = {"hide_parameters": True}

# Longer than any wait for a lock, so that a lock is reported as such; shorter than a worker's own time-out.
_SILENCE = 2 * BUSY_TIMEOUT

_CONNECT_ARGS: dict[str, dict[str, Any]] = {
    "psycopg": {"connect_timeout": BUSY_TIMEOUT, "tcp_user_timeout": 1000 * _SILENCE},
    "pymysql": {
        "connect_timeout": BUSY_TIMEOUT,
        "read_timeout": _SILENCE,
        "write_timeout": _SILENCE,
        "init_command": f"SET SESSION innodb_lock_wait_timeout = {BUSY_TIMEOUT}",
    },
}


def _make_sqlite_engine(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        # One connection is the whole database. It serves one thread at a time, or their transactions would mingle.
        one: dict[str, Any] = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": BUSY_TIMEOUT}
        return sa.create_engine(
            url, isolation_level="AUTOCOMMIT", connect_args={"check_same_thread": False}, **one, **_DISCREET
        )
    if not str(url.database).startswith("file:"):
        folder = Path(str(url.database)).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the folder {folder} of the sign-in store cannot be made ({type(error).__name__}); let the application "
                "write there, or set CHATBOTKIT_AUTH_STORE_URL"
            ) from error
    engine = sa.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_timeout=BUSY_TIMEOUT,
        pool_reset_on_return=None,
        connect_args={"timeout": BUSY_TIMEOUT},
        **_DISCREET,
    )
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


def _prepare_postgresql(connection: Any, _record: object) -> None:
    # Not as a parameter of the connection, which PgBouncer refuses. By default PostgreSQL waits for a lock without end.
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{BUSY_TIMEOUT}s'")


def _forget_connections_after_fork(database: Database) -> None:
    if hasattr(os, "register_at_fork"):
        reference = weakref.ref(database)

        def forget() -> None:
            inherited = reference()
            if inherited is not None:
                inherited._forget_connections()

        os.register_at_fork(after_in_child=forget)


def _lost_against_another(error: DBAPIError) -> bool:
    return _code(error) in _CONFLICTS


def _code(error: DBAPIError) -> str | int | None:
    """Return the engine's own code of an error: SQLSTATE, a number of MySQL, a name of SQLite (Python 3.11)."""
    original = error.orig
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        if code := getattr(original, name, None):
            return str(code)
    number = original.args[0] if original is not None and original.args else None
    return number if isinstance(number, int) else None


def _store_error(error: SQLAlchemyError) -> StoreError:
    # The driver's own text may quote values; the exception behind `from` is for a debugger, the sentence for a log.
    name = type(error).__name__
    if isinstance(error, DBAPIError):
        name = " ".join(str(part) for part in (type(error.orig).__name__, _code(error)) if part)
    return StoreError(
        f"the database of the sign-in store failed ({name}); check that it runs, has room and is not locked, that "
        "CHATBOTKIT_AUTH_STORE_URL is right, and that `flask chatbotkit-auth init-db` or your migrations have made its "
        "tables"
    )
