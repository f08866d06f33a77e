"""The SQLAlchemy engine for each kind of database: its driver, its time-outs, and how its transactions begin."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import QueuePool, StaticPool

from ..exceptions import ConfigurationError, StoreError
from .sql_errors import may_have_failed_over

BUSY_TIMEOUT = 5
"""Seconds to wait for a lock, for a free connection in the pool, and for a server to accept a connection."""

_DRIVERS = {"postgres": "psycopg", "postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
_EXTRAS = {"psycopg": "postgresql", "pymysql": "mysql"}

# Errors do not show parameters: they contain addresses and sessions, and an error may be logged.
_DISCREET: dict[str, Any] = {"hide_parameters": True}

# Seconds to wait for an answer. It is longer than any wait for a lock, so that a lock is reported as a lock, and shorter
# than the time-out of a worker.
_SILENCE = 2 * BUSY_TIMEOUT


def check_url(text: str | URL) -> URL:
    """Return the URL of a database. If it names no driver, add our default driver.

    :raises ConfigurationError: the URL is invalid, or its driver is not installed.
    """
    if isinstance(text, str) and "," in text.partition("://")[2].partition("/")[0]:
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_STORE_URL has several hosts with commas between. Write each as an option: "
            "postgresql+psycopg://user:password@/database?host=a:5432&host=b:5432&target_session_attrs=read-write"
        )
    try:
        url = make_url(text)
        name, _, driver = url.drivername.partition("+")
        if not driver and name in _DRIVERS:
            name = "postgresql" if name == "postgres" else name
            url = url.set(drivername=f"{name}+{_DRIVERS[name]}")
        dialect = url.get_dialect()
        if dialect.is_async or url.drivername == "postgresql+psycopg_async":
            raise ConfigurationError(
                f"{url.drivername}:// is an asynchronous driver, and Flask is not asynchronous. Write "
                f"{name}+{_DRIVERS.get(name, 'pysqlite')}:// in CHATBOTKIT_AUTH_STORE_URL."
            )
        dialect.import_dbapi()
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


def check_engine(engine: Engine) -> None:
    """Raise unless our own transactions can run on an application's engine.

    :raises ConfigurationError: the engine commits after each statement, or all of its users share one connection.
    """
    if isinstance(engine.pool, StaticPool):
        raise ConfigurationError(
            "The engine of the sign-in store has one connection for everybody (StaticPool, as Flask-SQLAlchemy's SQLite in "
            "memory has): what the store commits would commit your view's rows, too. Give the tests a file, such as "
            'SQLALCHEMY_DATABASE_URI="sqlite:///" + str(tmp_path / "test.db"), or the store another place, such as '
            'CHATBOTKIT_AUTH_STORE_URL="memory://".'
        )
    options = engine.get_execution_options()
    level = options.get("isolation_level") or getattr(engine.dialect, "_on_connect_isolation_level", None)
    if level == "AUTOCOMMIT":
        raise ConfigurationError(
            "The engine of the sign-in store commits after each statement, and two of its steps need a transaction. Give "
            'it engine.execution_options(isolation_level="READ COMMITTED").'
        )


def make_engines(url: URL, pool: int) -> tuple[Engine, Engine]:
    """Return an engine for single statements and one for transactions. They share their connections.

    :param pool: the most connections that both together can hold at once.
    """
    backend = url.get_backend_name()
    if backend == "sqlite":
        engine = _make_sqlite_engine(url, pool)
        event.listen(engine, "do_connect", _connect)
        transactional = engine.execution_options()
        event.listen(transactional, "begin", _begin_sqlite)
        return engine, transactional
    # A server can restart or close idle connections, so each connection is checked before it is used.
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_timeout": BUSY_TIMEOUT, **_DISCREET}
    # No overflow: a connection above the size of the pool would be opened and closed at each use.
    options.update(pool_size=pool, max_overflow=0)
    given = _CONNECT_ARGS.get(url.get_driver_name(), {})
    options["connect_args"] = {key: value for key, value in given.items() if key not in url.query}
    if backend == "postgresql":
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", **options)
        event.listen(engine, "handle_error", _disconnect)
        transactional = engine.execution_options(isolation_level="READ COMMITTED")
        _bound_waiting(engine, transactional, locks="options" not in url.query)
        return engine, transactional
    # Each step is one conditional write. The gap locks of the stricter default would only cause deadlocks. Each transaction
    # ends before its connection returns to the pool, so a ROLLBACK there would waste a round trip.
    engine = sa.create_engine(url, isolation_level="READ COMMITTED", pool_reset_on_return=None, **options)
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "handle_error", _disconnect)
    if "init_command" in url.query:
        event.listen(engine, "connect", lambda connection, _record: connection.cursor().execute(_LOCK_TIMEOUT))
    return engine, engine


def _connect(dialect: Any, _record: object, arguments: Any, options: Any) -> Any:
    """Connect, or raise a ``StoreError`` if the driver does not take an option of the URL. It has no exception for that."""
    try:
        return dialect.connect(*arguments, **options)
    except dialect.dbapi.Error:
        raise
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise bad_option(error) from error


def bad_option(error: Exception) -> StoreError:
    """Return the ``StoreError`` for an option of the URL that the driver does not take."""
    return StoreError(
        f"the driver of the sign-in store's database cannot use CHATBOTKIT_AUTH_STORE_URL ({type(error).__name__}): an "
        "option after the ? is unknown, has a wrong value, or names a file that cannot be read"
    )


def _disconnect(context: ExceptionContext) -> None:
    """Replace the connections to a server that has become a replica, or to a node that has lost the other nodes."""
    if may_have_failed_over(context.sqlalchemy_exception or context.original_exception):
        context.is_disconnect = True


_LOCK_TIMEOUT = f"SET SESSION innodb_lock_wait_timeout = {BUSY_TIMEOUT}"


_CONNECT_ARGS: dict[str, dict[str, Any]] = {
    # No prepared statements: behind PgBouncer, each transaction may run on another connection to the server.
    "psycopg": {"connect_timeout": BUSY_TIMEOUT, "tcp_user_timeout": 1000 * _SILENCE, "prepare_threshold": None},
    "pymysql": {
        "connect_timeout": BUSY_TIMEOUT,
        "read_timeout": _SILENCE,
        "write_timeout": _SILENCE,
        "init_command": _LOCK_TIMEOUT,
    },
}


def _make_sqlite_engine(url: URL, pool: int) -> Engine:
    if url.database in (None, "", ":memory:"):
        # The database exists in one connection. One thread at a time uses it, so that transactions do not mix.
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
        pool_size=pool,
        max_overflow=0,
        pool_reset_on_return=None,
        connect_args={"timeout": BUSY_TIMEOUT},
        **_DISCREET,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # In WAL mode, readers and the one writer do not block each other. With it, NORMAL saves a disk flush per commit. A power
    # cut can lose the last commits, but never damages the file (sqlite.org/wal.html).
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError:
        pass  # another process is setting the mode now; the mode is stored in the file, so it also applies here
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    # The driver would begin the transaction at the first write, or never if the engine commits after each statement.
    # IMMEDIATE waits for the lock at once, before anything is read that another writer could change.
    begin = "BEGIN IMMEDIATE"
    try:
        connection.connection.cursor().execute(begin)
    except sqlite3.Error as error:
        raise OperationalError(begin, None, error) from error


# PgBouncer and the RDS Proxy of Amazon refuse a setting that is sent when the connection is opened.
_REFUSALS = ("unsupported startup parameter", "command-line options")


def _bound_waiting(engine: Engine, transactional: Engine, *, locks: bool) -> None:
    """Wait for an answer of PostgreSQL for a limited time, and have it wait for a lock for :data:`BUSY_TIMEOUT` seconds.

    The setting for locks is sent when the connection is opened. A pooler refuses that, since many clients share its
    connections. Behind it, each transaction sets the setting for itself only.

    :param locks: whether the URL leaves the setting for locks to us.
    """
    pooled: list[bool] = []
    setting = f"lock_timeout={1000 * BUSY_TIMEOUT}"

    def connect(dialect: Any, _record: object, arguments: Any, options: Any) -> Any:
        if locks and not pooled:
            try:
                return _connect_to_postgresql(dialect, arguments, {**options, "options": f"-c {setting}"})
            except dialect.dbapi.OperationalError as error:
                if not any(text in str(error) for text in _REFUSALS):
                    raise
                pooled.append(True)
        return _connect_to_postgresql(dialect, arguments, options)

    def begin(connection: Connection) -> None:
        if pooled:
            connection.exec_driver_sql(f"SET LOCAL {setting}")

    event.listen(engine, "do_connect", connect)
    event.listen(transactional, "begin", begin)


def _connect_to_postgresql(dialect: Any, arguments: Any, options: Any) -> Any:
    connection = dialect.connect(*arguments, **options)
    if dialect.driver == "psycopg":
        from .psycopg_wait import BoundedWait  # imported only if it is used

        connection.wait = BoundedWait(connection, _SILENCE)
    return connection


@contextmanager
def unhurried(connection: Connection) -> Iterator[None]:
    """Let PostgreSQL take longer than an answer may take, as for an index over millions of rows."""
    driver: Any = connection.connection.driver_connection
    wait: Any = getattr(driver, "wait", None)
    seconds = getattr(wait, "seconds", None)
    if seconds is None:
        yield
        return
    wait.seconds = None
    try:
        yield
    finally:
        wait.seconds = seconds
