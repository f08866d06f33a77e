"""A SQL database: its connections, transactions and errors.

The store and the rate limits both use it. This file knows no table.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, Row
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..exceptions import ConfigurationError, StoreError
from ..measure import measured
from . import schema
from .engines import bad_option, check_engine, check_url, make_engines, unhurried
from .sql_errors import is_conflict, is_read_only, made_by_another, no_table, store_error, too_many_connections
from .transactions import Shared, Transaction

Result = TypeVar("Result")
Values = Mapping[str, object]

_TRIES = 8

_PAUSE = 0.05
"""Seconds to wait before another try, multiplied by the number of the try."""

_MYSQL = ("mysql", "mariadb")


class Database:
    """A database, from a URL, an application's engine, or its Flask-SQLAlchemy ``db``.

    For a URL, the engine is created at the first use. A process that is forked later opens its own connections.

    :param bind: a URL (``postgresql://`` and ``mysql://`` use our default drivers), an ``Engine``, or a
        ``flask_sqlalchemy.SQLAlchemy`` object, whose engine is looked up in the current application at each use.
    :param pool: the most connections that the engine of a URL can hold at once.
    :raises ConfigurationError: the URL is invalid, or its driver is not installed.
    """

    def __init__(self, bind: object, *, pool: int = 5) -> None:
        self.pool: int = pool
        self.metadata: sa.MetaData = sa.MetaData()
        self.migrated: bool = False
        """Whether the application's own migrations create the tables."""
        self._dialect: str | None = None
        self._ready = False
        self._lock = threading.RLock()
        self._writer = threading.RLock()
        self._queues = False
        """Whether threads write in turn: on SQLite, if the engine is ours. Then each transaction begins with a write."""
        self._process = os.getpid()
        self._forked = False
        self._safe: weakref.WeakSet[Engine] = weakref.WeakSet()
        self._shared = Shared()
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
        """Return whether the database has this dialect, or may have it: the dialect of a ``db`` is not known yet.

        A table that names a dialect imports it, and a worker with another database does not need it.
        """
        return self._dialect in (None, dialect) or (dialect == "mysql" and self._dialect == "mariadb")

    @property
    def table_options(self) -> dict[str, Any]:
        """The table options that make MySQL compare texts byte for byte. By default, it ignores case and accents."""
        options = {"charset": "utf8mb4", "collate": "utf8mb4_bin"}
        dialects = _MYSQL if self.maybe("mysql") else ()
        return {f"{dialect}_{name}": value for dialect in dialects for name, value in options.items()}

    @property
    def engine(self) -> Engine:
        """The engine. For a Flask-SQLAlchemy ``db``, it is the engine of the current application."""
        return self._engines()[0]

    def run(self, work: Callable[[Connection], Result], *, single: bool = False) -> Result:
        """Run ``work(connection)`` in one transaction, and return its result. Run it again after a deadlock or conflict.

        The first use creates missing tables, unless the application migrates them.

        :param single: each statement of ``work`` can be its own transaction. On PostgreSQL, this saves the two round trips
            of BEGIN and COMMIT.
        :raises StoreError: the database cannot be reached, or refuses. The transaction is rolled back.
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
                    # The table was dropped at runtime, for example by a migration that does not know it.
                    made_again = True
                    self.create_tables()
                elif tries_left and too_many_connections(error):
                    time.sleep(_PAUSE * (_TRIES - tries_left))
                elif is_read_only(error) and error.connection_invalidated and not moved:
                    moved = True  # another server may be the primary now, and a new connection finds it
                elif not (tries_left and is_conflict(error)):
                    raise store_error(error) from error
            except SQLAlchemyError as error:
                raise store_error(error) from error
        raise AssertionError("unreachable")

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Use one connection for everything that this thread runs inside. It is taken from the pool and checked once.

        Each run is still its own transaction. Code inside must wait for nothing but the database.
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

    def _transaction(self, single: bool, queues: bool) -> Transaction:
        engine, transactional = self._engines()
        # If there are two engines, the first one commits each statement, so no transaction is begun or ended.
        alone = single and engine is not transactional
        shared: Shared | None = self._shared
        if not (self._shared.wanted and (alone or engine is transactional)):
            self._shared.release()  # a pool of size 1 has no second connection
            shared = None
        writer = self._writer if queues else None  # another thread of a forked process may replace it meanwhile
        return Transaction(engine if alone else transactional, alone=alone, shared=shared, writer=writer)

    def change(self, statement: sa.Executable, values: Values | None = None) -> int:
        """Run one INSERT, UPDATE or DELETE. Return how many rows matched; for an INSERT, the number has no meaning.

        :raises StoreError: as :meth:`run`.
        """
        return int(self.run(lambda connection: connection.execute(statement, values).rowcount, single=True))

    def first(self, statement: sa.Executable, values: Values | None = None) -> Row[Any] | None:
        """Run one statement. Return its first row, or ``None``.

        :raises StoreError: as :meth:`run`.
        """
        return self._read(lambda connection: connection.execute(statement, values).first())

    def all(self, statement: sa.Executable, values: Values | None = None) -> Sequence[Row[Any]]:
        """Run one statement. Return its rows.

        :raises StoreError: as :meth:`run`.
        """
        return self._read(lambda connection: connection.execute(statement, values).all())

    def _read(self, work: Callable[[Connection], Result]) -> Result:
        with measured("store", self._dialect or "sql"):
            return self._run(work, single=True, reads=True)

    def create_tables(self) -> None:
        """Create the missing tables, columns and indexes of :attr:`metadata`. Several processes can call this at once.

        If the application migrates the tables, this does nothing.

        :raises StoreError: they cannot be created.
        """
        if self.migrated:
            return
        engine = self._engines()[1]
        for tries_left in range(_TRIES - 1, -1, -1):
            try:
                with engine.begin() as connection, unhurried(connection):
                    schema.make(connection, self.metadata)
                self._ready = True
                return
            except DBAPIError as error:
                # A process of an older release takes no lock. It may have created something after we checked.
                if not (tries_left and made_by_another(error)):
                    raise store_error(error, making=True) from error
                time.sleep(_PAUSE * (_TRIES - tries_left))
            except SQLAlchemyError as error:
                raise store_error(error) from error
            except schema.LockTimeout:
                if not tries_left:
                    raise StoreError(
                        "another process has been making the tables of the sign-in store for long; try again later"
                    ) from None

    def _prepare(self) -> None:
        """Create missing tables at the first use, in one thread. Other threads wait for it."""
        if self._ready:
            return
        self._engines()  # before the lock is taken: after a fork, this replaces the lock
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
        """Return the engine for single statements and the one for transactions, without connections of a parent process.

        Two processes that share a socket read each other's answers. A process can be forked at any time, even by C code
        that runs no hook of Python (uWSGI). So the process id is compared at each use.
        """
        if self._process != os.getpid():
            # A thread that does not exist in this process may hold a lock.
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
        """Close the connections, if the engine was created from a URL. The next use opens new ones."""
        if self._own is not None:
            self._own[0].dispose()
            # A database in memory is lost when its connection is closed.
            self._ready = False

    def _make(self, url: URL) -> tuple[Engine, Engine]:
        with self._lock:
            if self._own is None:
                try:
                    self._own = make_engines(url, self.pool)
                except (TypeError, ValueError) as error:
                    raise bad_option(error) from error
                self._safe.add(self._own[0])
                # When the application is deleted, as in tests, its connections are closed. Python 3.13 warns about open ones.
                weakref.finalize(self, self._own[0].dispose).atexit = False
            return self._own


def _forget_connections(engine: Engine) -> None:
    """Have an engine open new connections. Those of the parent process are not closed."""
    engine.dispose(close=False)
