"""One SQL database: its connections, its transactions, its errors.

What the store and the rate limits share. Nothing here knows of a table.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, Row
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..exceptions import ConfigurationError, StoreError
from ..measure import measured
from . import schema
from .engines import BUSY_TIMEOUT, check_engine, check_url, make_engines
from .sql_errors import (
    lost_against_another,
    made_by_another,
    no_table,
    store_error,
    takes_no_writes,
    too_many_connections,
)

Result = TypeVar("Result")
Values = Mapping[str, object]

_TRIES = 8

_PAUSE = 0.05
"""Seconds, times the number of the try, to wait while an older release makes the same tables."""

_MYSQL = ("mysql", "mariadb")


class Database:
    """A database by its URL, an application's engine, or its Flask-SQLAlchemy ``db``.

    An engine of our own is made at the first use; a process that forks off later opens its own connections.

    :param bind: a URL (``postgresql://`` and ``mysql://`` choose our drivers), an ``Engine``, or a ``flask_sqlalchemy.
        SQLAlchemy`` object, whose engine is looked up in the current application at each use.
    :param pool: how many connections an engine of our own may hold at once.
    :raises ConfigurationError: the URL is not one, or its driver is not installed.
    """

    def __init__(self, bind: object, *, pool: int = 5) -> None:
        self.pool: int = pool
        self.metadata: sa.MetaData = sa.MetaData()
        self.migrated: bool = False
        """Whether the tables belong to the application's own migrations."""
        self._dialect: str | None = None
        self._ready = False
        self._lock = threading.RLock()
        self._writer = threading.RLock()
        self._queues = False
        """Whether threads write in turn: on SQLite, where the engine is ours and each transaction begins by a write."""
        self._process = os.getpid()
        self._forked = False
        self._safe: weakref.WeakSet[Engine] = weakref.WeakSet()
        self._shared = _Shared()
        self._own: tuple[Engine, Engine] | None = None
        if isinstance(bind, Engine):
            check_engine(bind)
            self._dialect = bind.dialect.name
            self._find: Callable[[], tuple[Engine, Engine]] = lambda: (bind, bind)
        elif isinstance(bind, (str, URL)):
            url = check_url(bind)
            self._dialect = url.get_backend_name()
            self._queues = self._dialect == "sqlite"
            self._find = lambda: self._own or self._make(url)
        elif hasattr(bind, "metadata") and hasattr(type(bind), "engines"):
            self.metadata = bind.metadata
            self.migrated = self._ready = True
            self._find = lambda: (bind.engine, bind.engine)  # type: ignore[attr-defined]
        else:
            raise ConfigurationError(
                "Give a database as a URL, a SQLAlchemy engine, or a Flask-SQLAlchemy object, "
                f"not as {type(bind).__name__}."
            )

    def maybe(self, dialect: str) -> bool:
        """Return whether this is a database of that kind, or may be, where the engine is the application's to choose.

        To name a dialect in a table imports it, which a worker on another one does not need.
        """
        return self._dialect in (None, dialect) or (dialect == "mysql" and self._dialect == "mariadb")

    @property
    def table_options(self) -> dict[str, Any]:
        """The options of a table whose texts are compared byte for byte: by default MySQL folds case and accents."""
        options = {"charset": "utf8mb4", "collate": "utf8mb4_bin"}
        dialects = _MYSQL if self.maybe("mysql") else ()
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
        with measured("store", self._dialect or "sql"):
            return self._run(work, single)

    def _run(self, work: Callable[[Connection], Result], single: bool, *, reads: bool = False) -> Result:
        self._prepare()
        made_again, moved = self.migrated, False
        for tries_left in range(_TRIES - 1, -1, -1):
            try:
                with self._transaction(single, queues=self._queues and not reads) as connection:
                    return work(connection)
            except DBAPIError as error:
                if no_table(error) and not made_again:
                    # Dropped while we run, as by a migration that does not know of them.
                    made_again = True
                    self.create_tables()
                elif tries_left and too_many_connections(error):
                    time.sleep(_PAUSE * (_TRIES - tries_left))
                elif takes_no_writes(error) and error.connection_invalidated and not moved:
                    moved = True  # another server may be the primary now, which a new connection finds
                elif not (tries_left and lost_against_another(error)):
                    raise store_error(error) from error
            except SQLAlchemyError as error:
                raise store_error(error) from error
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

    def _transaction(self, single: bool, queues: bool) -> AbstractContextManager[Connection]:
        engine, transactional = self._engines()
        # Where they differ, the one for single statements commits by itself, and has nothing to begin or end.
        alone = single and engine is not transactional
        if self._shared.wanted and (alone or engine is transactional):
            return self._shared_transaction(engine, alone, queues)
        self._shared.release()  # a pool of one has no second connection
        if queues:
            return self._queued_transaction(engine if alone else transactional, alone)
        return engine.connect() if alone else transactional.begin()

    @contextmanager
    def _queued_transaction(self, engine: Engine, alone: bool) -> Iterator[Connection]:
        # The connection first: whoever has its turn must not wait for a thread that holds one and waits for its turn.
        with engine.connect() as connection, self._turn():
            if alone:
                yield connection
            else:
                with connection.begin():
                    yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let one thread of this process write to SQLite at a time, which has one writer.

        SQLite itself has no queue: whoever finds it locked sleeps, longer each time, while others are faster.
        """
        # Not without end: another process may hold the lock. Then each thread waits for SQLite, and reports it.
        taken = self._writer.acquire(timeout=BUSY_TIMEOUT)
        try:
            yield
        finally:
            if taken:
                self._writer.release()

    @contextmanager
    def _shared_transaction(self, engine: Engine, alone: bool, queues: bool) -> Iterator[Connection]:
        shared = self._shared
        try:
            if shared.connection is None:
                shared.connection = engine.connect()
            with self._turn() if queues else nullcontext():
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
        return self._read(lambda connection: connection.execute(statement, values).first())

    def all(self, statement: sa.Executable, values: Values | None = None) -> Sequence[Row[Any]]:
        """Run one statement; return its rows.

        :raises StoreError: as :meth:`run`.
        """
        return self._read(lambda connection: connection.execute(statement, values).all())

    def _read(self, work: Callable[[Connection], Result]) -> Result:
        with measured("store", self._dialect or "sql"):
            return self._run(work, single=True, reads=True)

    def create_tables(self) -> None:
        """Make the tables, columns and indexes of :attr:`metadata` that are missing, however many processes do so at once.

        Does nothing where they are the application's to migrate.

        :raises StoreError: they cannot be made.
        """
        if self.migrated:
            return
        engine = self._engines()[1]
        for tries_left in range(_TRIES - 1, -1, -1):
            try:
                with engine.begin() as connection:
                    schema.make(connection, self.metadata)
                self._ready = True
                return
            except DBAPIError as error:
                # A process of an older release takes no lock, and may have made something between our look and our statement.
                if not (tries_left and made_by_another(error)):
                    raise store_error(error, making=True) from error
                time.sleep(_PAUSE * (_TRIES - tries_left))
            except SQLAlchemyError as error:
                raise store_error(error) from error
            except schema.AnotherIsAtIt:
                if not tries_left:
                    raise StoreError(
                        "another process has been making the tables of the sign-in store for long; try again later"
                    ) from None

    def _prepare(self) -> None:
        """Make what is missing, at the first use: once, however many threads come at once."""
        if self._ready:
            return
        self._engines()  # before the lock, which a fork renews
        with self._lock:
            self._prepare_alone()

    def _prepare_alone(self) -> None:
        if self._ready:
            return
        for tries_left in range(_TRIES - 1, -1, -1):
            try:
                with self._engines()[0].connect() as connection:
                    self._ready = schema.is_current(connection, self.metadata)
                break
            except SQLAlchemyError as error:
                if not (tries_left and isinstance(error, DBAPIError) and too_many_connections(error)):
                    raise store_error(error) from error
                time.sleep(_PAUSE * (_TRIES - tries_left))
        if not self._ready:
            self.create_tables()

    def _engines(self) -> tuple[Engine, Engine]:
        """Return the engine for single statements and the one for transactions, with no connection of a parent process.

        A process may be forked at any time, in C as well, where Python runs nothing (uWSGI): hence the look at each use.
        Two processes on one socket read each other's answers.
        """
        if self._process != os.getpid():
            # A lock may be held by a thread that this process does not have.
            self._lock = threading.RLock()
            self._writer = threading.RLock()
            self._safe = weakref.WeakSet()
            self._shared.forget()
            if self._own is not None:
                _forget_connections(self._own[0])
            self._process = os.getpid()
            self._forked = True
        engines = self._find()
        if self.migrated:
            check_engine(engines[0])
        if self._forked and engines[0] not in self._safe:
            _forget_connections(engines[0])
            self._safe.add(engines[0])
        return engines

    def close(self) -> None:
        """Close the connections of an engine of our own; the next use opens new ones."""
        if self._own is not None:
            self._own[0].dispose()
            # A database in memory is gone with its connection.
            self._ready = False

    def _make(self, url: URL) -> tuple[Engine, Engine]:
        with self._lock:
            if self._own is None:
                self._own = make_engines(url, self.pool)
                self._safe.add(self._own[0])
                # An application that is thrown away, as in tests, leaves no connection for Python 3.13 to complain about.
                weakref.finalize(self, self._own[0].dispose).atexit = False
            return self._own


def _forget_connections(engine: Engine) -> None:
    """Let an engine open its own connections, and leave those of the parent process alone."""
    engine.dispose(close=False)


class _Shared(threading.local):
    """The connection that a thread's runs share, while it wants them to."""

    wanted = False
    connection: Connection | None = None

    def release(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def forget(self) -> None:
        """Keep a parent's connection unused for ever: to close it would be to speak on it."""
        if self.connection is not None:
            _INHERITED.append(self.connection)
            self.connection = None


_INHERITED: list[Connection] = []
