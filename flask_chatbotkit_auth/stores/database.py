"""One SQL database: its connections, its transactions, its errors.

What the store and the rate limits share. Nothing here knows of a table.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, Row
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..exceptions import ConfigurationError, StoreError
from .engines import check_url, make_engines, refuse_autocommit

Result = TypeVar("Result")
Values = Mapping[str, object]

_TRIES = 8

_MYSQL = ("mysql", "mariadb")

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
        self.metadata: sa.MetaData = sa.MetaData()
        self.migrated: bool = False
        """Whether the tables belong to the application's own migrations."""
        self.maybe_mysql: bool = True
        """Whether this is MySQL or MariaDB, or may be, where the engine is the application's to choose. To name these to
        SQLAlchemy imports their dialect, which no other worker needs."""
        self._ready = False
        self._lock = threading.Lock()
        self._shared = _Shared()
        self._own: tuple[Engine, Engine] | None = None
        if isinstance(bind, Engine):
            refuse_autocommit(bind)
            self.maybe_mysql = bind.dialect.name in _MYSQL
            self._engines: Callable[[], tuple[Engine, Engine]] = lambda: (bind, bind)
        elif isinstance(bind, (str, URL)):
            url = check_url(bind)
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
                with self._transaction(single) as connection:
                    return work(connection)
            except DBAPIError as error:
                if not (tries_left and _lost_against_another(error)):
                    raise _store_error(error) from error
            except SQLAlchemyError as error:
                raise _store_error(error) from error
        raise AssertionError("unreachable")

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Let what this thread runs inside go over one connection: one way to the pool, and one sign of life asked for.

        Each run stays a transaction of its own. Nothing that waits for anything but the database belongs inside.
        """
        if self._shared.wanted:
            yield
            return
        self._shared.wanted = True
        try:
            yield
        finally:
            self._shared.wanted = False
            self._shared.release()

    @contextmanager
    def _transaction(self, single: bool) -> Iterator[Connection]:
        engine, transactional = self._engines()
        # Where they differ, the one for single statements commits by itself, and has nothing to begin or end.
        alone = single and engine is not transactional
        shared = self._shared
        if not shared.wanted or not (alone or engine is transactional):
            shared.release()  # a pool of one has no second connection
            with engine.connect() if alone else transactional.begin() as connection:
                yield connection
            return
        try:
            if shared.connection is None:
                shared.connection = engine.connect()
            if alone:
                yield shared.connection
            else:
                with shared.connection.begin():
                    yield shared.connection
        except SQLAlchemyError:
            shared.release()  # it may be broken, and the next run gets another
            raise

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
                    # An index of a table that is there may be missing: MySQL commits after each of the statements, and a
                    # process may be killed between two.
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
                self._own = make_engines(url)
                _forget_connections_after_fork(self)
                # An application that is thrown away, as in tests, leaves no connection for Python 3.13 to complain about.
                weakref.finalize(self, self._own[0].dispose).atexit = False
            return self._own

    def _forget_connections(self) -> None:
        # Two processes on one socket garble each other; a child opens its own and leaves the parent's alone. The lock may
        # have been held by a thread that the child does not have.
        self._lock = threading.Lock()
        if self._own is not None:
            self._own[0].dispose(close=False)


class _Shared(threading.local):
    """The connection that a thread's runs share, while it wants them to."""

    wanted = False
    connection: Connection | None = None

    def release(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


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
