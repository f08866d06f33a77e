"""A transaction of the SQL store: its connection, its turn, and its end."""

from __future__ import annotations

import threading
from types import TracebackType

from sqlalchemy.engine import Connection, Engine, RootTransaction

from .engines import BUSY_TIMEOUT


class Shared(threading.local):
    """The connection that the transactions of a thread share while one is wanted."""

    wanted: bool = False
    connection: Connection | None = None

    def release(self) -> None:
        """Give the connection back to its pool."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def forget(self) -> None:
        """Keep a connection of the parent process unused for ever. Closing it would send something on the parent's socket."""
        if self.connection is not None:
            _INHERITED.append(self.connection)
            self.connection = None


_INHERITED: list[Connection] = []


class Transaction:
    """Statements in one transaction, or each in its own.

    This is a class, since each sign-in has ten of them, and a generator costs more.

    :param engine: the engine of the connection.
    :param alone: whether each statement is its own transaction. Then the engine commits it.
    :param shared: has the connection that this thread shares; ``None`` takes one of its own.
    :param writer: lets one thread of this process at a time write to SQLite, which allows one writer. SQLite has no queue: a
        writer that finds a lock sleeps, longer each time, and others overtake it.
    """

    def __init__(self, engine: Engine, *, alone: bool, shared: Shared | None, writer: threading.RLock | None) -> None:
        self._engine = engine
        self._alone = alone
        self._shared = shared
        self._writer = writer
        self._has_turn = False
        self._connection: Connection | None = None
        self._begun: RootTransaction | None = None

    def __enter__(self) -> Connection:
        shared, writer = self._shared, self._writer
        try:
            connection = self._connection = (shared and shared.connection) or self._engine.connect()
            if shared is not None:
                shared.connection = connection
            # The connection comes before the turn. Otherwise a thread that has the turn could wait for a connection, while
            # the thread that has the connection waits for the turn.
            if writer is not None:
                # The wait has a limit, since another process may hold the lock of SQLite. After it, each thread waits for
                # SQLite itself, and gets its error.
                self._has_turn = writer.acquire(timeout=BUSY_TIMEOUT)
            if not self._alone:
                self._begun = connection.begin()
        except BaseException:
            self._leave(failed=True)
            raise
        return connection

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        failed = True
        try:
            if self._begun is not None:
                _end(self._begun, commit=error is None)
            failed = error is not None
        finally:
            self._leave(failed=failed)

    def _leave(self, *, failed: bool) -> None:
        if self._has_turn and self._writer is not None:
            self._writer.release()
        if self._shared is None:
            if self._connection is not None:
                self._connection.close()
        elif failed:
            self._shared.release()  # the connection may be broken; the next transaction gets another one


def _end(begun: RootTransaction, *, commit: bool) -> None:
    try:
        if commit:
            begun.commit()
        else:
            begun.close()
    except BaseException:
        # SQLite keeps a transaction whose COMMIT has failed, and SQLAlchemy sends no ROLLBACK then. The next transaction on
        # this connection would commit what has failed here.
        begun.connection.invalidate()
        raise
