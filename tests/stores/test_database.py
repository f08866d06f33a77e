"""The database under the store: URLs, engines, transactions, forks, statements and their plans."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.engine import make_url

from flask_chatbotkit_auth import ConfigurationError, User
from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.stores import Challenge, Outcome, SessionRecord, engines
from flask_chatbotkit_auth.stores.database import Database
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
from tests.support.kinds import DATABASES, SERVERS
from tests.support.relay import Pooler, relay
from tests.support.workers import at_once

every_database = pytest.mark.parametrize("store_url", DATABASES, indirect=True, scope="module")
every_server = pytest.mark.parametrize("store_url", SERVERS, indirect=True, scope="module")

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
USER = User(id="usr_1", email="ada@example.com")


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def challenge(id: str) -> Challenge:
    return Challenge(id=id, identifier=USER.email, sent_at=NOW, expires_at=later(600))


def session(id: str) -> SessionRecord:
    return SessionRecord(
        id=id, user=USER, created_at=NOW, seen_at=NOW, refreshed_at=NOW, ends_at=later(9999), expires_at=later(999)
    )


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    database = Database(store_url)
    yield database
    database.metadata.drop_all(database.engine)
    database.close()


def one_table(database: Database) -> sa.Table:
    return sa.Table(
        "things",
        database.metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer),
    )


# Opening


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgres://host/name", "postgresql+psycopg"),
        ("postgresql://host/name", "postgresql+psycopg"),
        ("mysql://host/name", "mysql+pymysql"),
        ("mariadb://host/name", "mariadb+pymysql"),
        ("sqlite:///file.db", "sqlite"),
    ],
)
def test_a_url_chooses_our_driver(url: str, driver: str) -> None:
    assert engines.check_url(url).drivername == driver


@pytest.mark.parametrize(
    ("url", "module", "cure"),
    [
        ("postgresql://host/name", "psycopg", "flask-chatbotkit-auth[postgresql]"),
        ("mysql://host/name", "pymysql", "flask-chatbotkit-auth[mysql]"),
        ("mariadb+pymysql://host/name", "pymysql", "flask-chatbotkit-auth[mysql]"),
        ("postgresql+pg8000://host/name", "pg8000", "pip install pg8000"),
    ],
)
def test_a_missing_driver_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, cure: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=re.escape(cure)):
        SQLAlchemyStore(url)


@pytest.mark.parametrize("bind", ["nonsense", "mongodb://host", "", "sqlite:/x", object(), None])
def test_what_is_no_database_is_refused(bind: object) -> None:
    with pytest.raises(ConfigurationError):
        SQLAlchemyStore(bind)


def test_a_password_shows_in_no_error() -> None:
    store = SQLAlchemyStore("postgresql://user:hunter2@127.0.0.1:1/name")
    with pytest.raises(StoreError) as caught:
        store.ping()
    assert "hunter2" not in str(caught.value)
    assert "check that it runs" in str(caught.value)
    store.close()


def test_nothing_is_opened_before_the_first_use(tmp_path: Path) -> None:
    store = SQLAlchemyStore(f"sqlite:///{tmp_path}/instance/deep/store.db")
    assert not list(tmp_path.iterdir())
    assert store.get_challenge("unknown") is None
    assert (tmp_path / "instance" / "deep" / "store.db").exists()
    store.close()


def test_a_database_that_is_thrown_away_closes_its_connections(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/store.db")
    closed: list[object] = []
    event.listen(database.engine, "close", lambda connection, _record: closed.append(connection))
    with database.engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    assert closed == []
    del database, connection
    gc.collect()
    assert len(closed) == 1


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SQLAlchemyStore(f"sqlite:///{tmp_path}/file/store.db")
    with pytest.raises(StoreError, match="cannot be made"):
        store.ping()


def test_sqlite_is_tuned_where_the_engine_is_our_own(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/store.db")
    with database.engine.connect() as connection:
        settings = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        assert settings == ["wal", 1]
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5000
    database.close()


def test_the_applications_engine_is_left_as_it_is(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/app.db")
    store = SQLAlchemyStore(engine)
    store.add_challenge(challenge("c"), "right")
    assert store.database.engine is engine
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
    store.close()
    assert store.get_challenge("c")
    engine.dispose()


def test_an_engine_that_begins_by_itself_commits_too(tmp_path: Path) -> None:
    # As SQLAlchemy's documentation has SQLite do, for transactions that include SELECT and DDL.
    engine = sa.create_engine(f"sqlite:///{tmp_path}/app.db")
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    SQLAlchemyStore(engine).add_challenge(challenge("c"), "right")
    assert SQLAlchemyStore(engine).get_challenge("c")
    engine.dispose()


def test_an_engine_that_commits_after_each_statement_is_refused() -> None:
    engine = sa.create_engine("postgresql+psycopg://host/name", isolation_level="AUTOCOMMIT")
    with pytest.raises(ConfigurationError, match="transaction"):
        SQLAlchemyStore(engine)
    SQLAlchemyStore(engine.execution_options(isolation_level="READ COMMITTED"))
    with pytest.raises(ConfigurationError, match="transaction"):
        SQLAlchemyStore(sa.create_engine("sqlite://").execution_options(isolation_level="AUTOCOMMIT"))


@every_server
def test_a_server_is_asked_for_a_sign_of_life(database: Database) -> None:
    assert database.engine.pool._pre_ping
    assert database.engine.pool.timeout() == 5  # type: ignore[attr-defined]


@every_server
@pytest.mark.parametrize("option", ["", "?init_command=SET SESSION sort_buffer_size=300000"])
def test_no_lock_is_waited_for_without_end(store_url: str, option: str) -> None:
    setting = {"postgresql": "SHOW lock_timeout", "mysql": "SELECT @@innodb_lock_wait_timeout"}
    database = Database(store_url + ("" if "postgresql" in store_url else option))
    with database.engine.connect() as connection:
        assert str(connection.exec_driver_sql(setting[connection.dialect.name]).scalar()).rstrip("s") == "5"
    database.close()


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_pooler_that_takes_no_settings_sets_them_for_each_transaction(store_url: str) -> None:
    url = make_url(store_url)
    with relay(url.host or "", url.port or 5432, Pooler) as way:
        database = Database(url.set(host="127.0.0.1", port=way.port))
        setting = database.run(lambda connection: connection.exec_driver_sql("SHOW lock_timeout").scalar())
        database.close()
    assert setting == "5s"


def test_an_engine_with_one_connection_for_everybody_is_refused() -> None:
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = SQLAlchemy(app)
    store = SQLAlchemyStore(db)
    with app.app_context(), pytest.raises(ConfigurationError, match="StaticPool"):
        store.ping()
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with pytest.raises(ConfigurationError, match="StaticPool"):
        SQLAlchemyStore(engine)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:secret@a:5432,b:5432/name",
        "postgresql+psycopg://user:secret@a,b/name",
        "mysql+pymysql://a,b/name",
    ],
)
def test_hosts_with_commas_between_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\?host=a:5432&host=b:5432") as caught:
        SQLAlchemyStore(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "instead"),
    [
        ("postgresql+asyncpg://host/name", r"postgresql\+psycopg://"),
        ("postgresql+psycopg_async://host/name", r"postgresql\+psycopg://"),
        ("sqlite+aiosqlite:///x.db", r"sqlite\+pysqlite://"),
        ("mysql+aiomysql://host/name", r"mysql\+pymysql://"),
        ("mysql+asyncmy://host/name", r"mysql\+pymysql://"),
    ],
)
def test_an_asynchronous_driver_is_refused(url: str, instead: str) -> None:
    with pytest.raises(ConfigurationError, match=f"asynchronous.*{instead}"):
        SQLAlchemyStore(url)


@every_server
def test_no_more_connections_are_held_than_the_pool_has(store_url: str) -> None:
    store = SQLAlchemyStore(store_url, pool=3)
    store.ping()
    opened: list[object] = []
    event.listen(store.database.engine, "connect", lambda connection, _record: opened.append(connection))
    at_once(20, lambda _: [store.get_challenge("unknown") for _ in range(5)])
    assert len(opened) <= 3
    assert store.database.engine.pool.checkedin() <= 3  # type: ignore[attr-defined]
    store.close()


@every_server
def test_too_many_connections_are_waited_for(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLAlchemyStore(store_url)
    store.ping()
    store.close()
    pauses: list[float] = []
    monkeypatch.setattr("flask_chatbotkit_auth.stores.database.time.sleep", pauses.append)
    codes = {"postgresql": "53300", "mysql": 1040}
    dialect = store.database.engine.dialect

    connect = dialect.connect

    def refuse(*arguments: Any, **options: Any) -> Any:
        if len(pauses) < 3:
            error: Any = dialect.dbapi.OperationalError(codes[dialect.name], "Too many connections")  # type: ignore[union-attr]
            error.sqlstate = codes[dialect.name]
            raise error
        return connect(*arguments, **options)

    monkeypatch.setattr(dialect, "connect", refuse)
    assert store.get_challenge("unknown") is None
    assert len(pauses) == 3
    assert pauses == sorted(pauses)
    store.close()


# Transactions


@every_database
def test_work_that_fails_leaves_nothing(database: Database) -> None:
    table = one_table(database)

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.insert(table).values(id=1, n=1))
        raise KeyError("half way")

    with pytest.raises(KeyError):
        database.run(work)
    assert database.all(sa.select(table)) == []


@every_database
def test_a_statement_that_fails_is_a_store_error_and_the_next_one_works(database: Database) -> None:
    table = one_table(database)
    database.change(sa.insert(table).values(id=1, n=1))

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.insert(table).values(id=2, n=1))
        connection.execute(sa.insert(table).values(id=1, n=1))

    with pytest.raises(StoreError, match=r"IntegrityError|UniqueViolation"):
        database.run(work)
    assert [row.id for row in database.all(sa.select(table))] == [1]


@every_server
def test_a_deadlock_is_run_again(database: Database) -> None:
    table = one_table(database)
    for id in (1, 2):
        database.change(sa.insert(table).values(id=id, n=0))
    tries = []

    def add(connection: sa.Connection, id: int) -> None:
        connection.execute(sa.update(table).where(table.c.id == id).values(n=table.c.n + 1))

    def forward(connection: sa.Connection) -> None:
        tries.append("forward")
        add(connection, 1)
        if len(tries) < 3:
            meet.wait()
        add(connection, 2)

    def backward(connection: sa.Connection) -> None:
        tries.append("backward")
        add(connection, 2)
        if len(tries) < 3:
            meet.wait()
        add(connection, 1)

    meet = Barrier(2, timeout=10)
    at_once(2, lambda number: database.run([forward, backward][number]))
    assert len(tries) >= 3  # one that runs again may meet the same again
    assert [row.n for row in database.all(sa.select(table))] == [2, 2]


# Writing in turn, and what need not be on the disk


def test_threads_of_one_process_write_to_sqlite_in_turn(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/store.db")
    table = one_table(database)
    database.create_tables()
    sent: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    write = Thread(target=lambda: database.change(sa.insert(table).values(id=2, n=2)))
    read: list[object] = []

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.insert(table).values(id=1, n=1))
        write.start()
        write.join(0.2)
        reader = Thread(target=lambda: read.append(database.first(sa.select(table))))
        reader.start()
        reader.join()
        assert [each.split()[0] for each in sent] == ["INSERT", "SELECT"], (
            "a second writer went to SQLite, and sleeps there"
        )

    database.run(work)
    write.join()
    assert read == [None]
    assert [row.id for row in database.all(sa.select(table))] == [1, 2]
    database.close()


def test_a_process_that_forks_off_writes_whoever_had_the_turn(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/store.db")
    table = one_table(database)
    database.create_tables()
    taken, over = Event(), Event()

    def hold(_connection: sa.Connection) -> None:
        taken.set()
        over.wait()

    holder = Thread(target=lambda: database.run(hold, single=True))
    holder.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if database.change(sa.insert(table).values(id=1, n=1)) == 1 else 1)
    status = os.waitpid(child, 0)[1]
    over.set()
    holder.join()
    assert os.waitstatus_to_exitcode(status) == 0
    assert database.first(sa.select(table)) == (1, 1)
    database.close()


def test_a_process_that_forks_off_in_its_turn_can_end_it(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/store.db")
    table = one_table(database)
    database.create_tables()

    def fork(_connection: sa.Connection) -> int:
        child = os.fork()
        if child == 0:
            database.change(sa.insert(table).values(id=1, n=1))
        return child

    try:
        child = database.run(fork, single=True)
    except RuntimeError:
        os._exit(1)
    if child == 0:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert database.first(sa.select(table)) == (1, 1)
    database.close()


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_counts_and_uses_do_not_wait_for_the_disk_and_codes_do(store_url: str) -> None:
    store = SQLAlchemyStore(store_url)
    store.setup()
    flushed: dict[str, set[str]] = {}

    @event.listens_for(store.database.engine, "after_cursor_execute")
    def look(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        for table in ("limits", "challenges", "sessions"):
            if f"{table} " in statement.partition("WHERE")[0]:
                key = f"{statement.split()[0]} {table}"
                flushed.setdefault(key, set()).add("off" if "set_config" in statement else "on")

    storage = store.limits_storage()
    storage.incr("key", 60)
    storage.take_back(["key"])  # type: ignore[attr-defined]
    store.add_challenge(challenge("c"), "right")
    assert store.try_code("c", ["right"], now=NOW, max_attempts=5).outcome is Outcome.ACCEPTED
    assert store.complete("c", session("s"), now=NOW)
    store.touch_session("s", seen_at=NOW, expires_at=later(999))
    off = {key for key, values in flushed.items() if values == {"off"}}
    assert off == {"INSERT limits", "UPDATE limits", "UPDATE sessions"}
    with store.database.engine.connect() as connection:
        assert connection.execute(sa.text("SHOW synchronous_commit")).scalar() == "on", "the setting outlives its step"
    store.database.metadata.drop_all(store.database.engine)
    store.close()


# One connection for several runs


def checkouts(database: Database) -> list[object]:
    """A list to which every connection is appended that is taken from the pool."""
    taken: list[object] = []
    event.listen(database.engine, "checkout", lambda connection, _record, _proxy: taken.append(connection))
    return taken


@every_database
def test_connected_runs_take_one_connection(database: Database) -> None:
    table = one_table(database)
    database.create_tables()
    taken = checkouts(database)
    with database.connected():
        database.change(sa.insert(table).values(id=1, n=1))
        with database.connected():
            assert database.first(sa.select(table)) == (1, 1)
        database.change(sa.update(table).values(n=2))
    assert len(taken) == 1
    assert database.first(sa.select(table)) == (1, 2)
    assert len(taken) == 2


@every_database
def test_connected_runs_are_no_transaction(database: Database) -> None:
    table = one_table(database)

    def fail_afterwards() -> None:
        with database.connected():
            database.change(sa.insert(table).values(id=1, n=1))
            raise KeyError

    with pytest.raises(KeyError):
        fail_afterwards()
    assert database.first(sa.select(table)) == (1, 1)


@every_database
def test_a_run_that_fails_while_connected_leaves_the_next_one_a_good_connection(database: Database) -> None:
    table = one_table(database)
    with database.connected():
        database.change(sa.insert(table).values(id=1, n=1))
        with pytest.raises(StoreError):
            database.change(sa.insert(table).values(id=1, n=2))
        database.change(sa.update(table).values(n=3))
    assert database.first(sa.select(table)) == (1, 3)
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@every_database
def test_a_transaction_while_connected_is_whole(database: Database) -> None:
    table = one_table(database)

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.insert(table).values(id=2, n=1))
        raise KeyError

    with database.connected():
        database.change(sa.insert(table).values(id=1, n=1))
        with pytest.raises(KeyError):
            database.run(work)
        database.change(sa.update(table).values(n=4))
    assert [tuple(row) for row in database.all(sa.select(table))] == [(1, 4)]


def test_a_database_of_one_connection_can_be_connected_to() -> None:
    database = Database("sqlite://")
    table = one_table(database)
    with database.connected():
        database.change(sa.insert(table).values(id=1, n=1))
        database.run(lambda connection: connection.execute(sa.update(table).values(n=2)))
        assert database.first(sa.select(table)) == (1, 2)
    database.close()


@every_database
def test_threads_do_not_share_a_connection(database: Database) -> None:
    table = one_table(database)
    database.create_tables()
    taken = checkouts(database)
    meet = Barrier(2, timeout=10)

    def use(number: int) -> None:
        with database.connected():
            database.change(sa.insert(table).values(id=number, n=0))
            meet.wait()
            database.change(sa.update(table).where(table.c.id == number).values(n=number))

    at_once(2, use)
    assert len(set(map(id, taken))) == len(taken) == 2
    assert [tuple(row) for row in database.all(sa.select(table).order_by(table.c.id))] == [(0, 0), (1, 1)]


# Tables


@every_database
def test_an_index_that_is_missing_is_made(store_url: str) -> None:
    store = SQLAlchemyStore(store_url)
    store.setup()
    for index in store._challenges.indexes:
        index.drop(store.database.engine)
    store.close()
    store.setup()
    assert len(sa.inspect(store.database.engine).get_indexes(store._challenges.name)) == 2
    store.close()


def test_the_tables_of_the_applications_migrations_are_not_made(tmp_path: Path) -> None:
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/shop.db"
    db = SQLAlchemy(app)
    store = SQLAlchemyStore(db)
    with app.app_context():
        store.setup()
        with pytest.raises(StoreError, match="migrations"):
            store.ping()
        db.create_all()
        store.ping()
        store.add_challenge(challenge("c"), "right")
        assert store.try_code("c", ["right"], now=NOW, max_attempts=5).outcome is Outcome.ACCEPTED
        assert store.complete("c", session("s"), now=NOW)
        assert store.limits_storage().incr("key", 60) == 1
        db.engine.dispose()
    assert SQLAlchemyStore(db)._challenges is store._challenges


# Forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@every_database
def test_a_process_that_forks_off_opens_its_own_connections(store_url: str) -> None:
    program = """
        import os, sys
        from datetime import datetime, timedelta, timezone
        from flask_chatbotkit_auth.stores import Challenge, open_store

        now = datetime(2026, 1, 1, tzinfo=timezone.utc)
        store = open_store(sys.argv[1])
        store.ping()

        def use(name):
            for number in range(20):
                id = f"{name}{number}"
                store.add_challenge(Challenge(id, "a@example.com", now, now + timedelta(minutes=10)), "right")
                assert store.get_challenge(id).id == id
                assert store.try_code(id, ["right"], now=now, max_attempts=5).outcome.value == "accepted"

        children = []
        for child in range(3):
            pid = os.fork()
            if pid == 0:
                try:
                    use(child)
                    os._exit(0)
                except BaseException as error:
                    print(repr(error), file=sys.stderr, flush=True)
                    os._exit(1)
            children.append(pid)
        use("parent")
        failed = [os.waitpid(pid, 0)[1] for pid in children]
        use("parent again")
        store.close()
        sys.exit(any(failed))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), store_url], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


# Statements


def statements(store: SQLAlchemyStore) -> list[tuple[str, Any]]:
    """A list to which every statement that the store's engine runs is appended, with its parameters."""
    seen: list[tuple[str, Any]] = []

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, parameters: Any, _context: object, _many: bool) -> None:
        seen.append((statement, parameters))

    return seen


def sign_in(store: SQLAlchemyStore, id: str) -> None:
    store.add_challenge(challenge(id), "right")
    assert store.get_challenge(id)
    assert store.try_code(id, ["right"], now=NOW, max_attempts=5).outcome is Outcome.ACCEPTED
    assert store.get_challenge(id)
    assert store.complete(id, session(id), now=NOW)


@every_database
def test_a_sign_in_takes_six_statements(store: SQLAlchemyStore) -> None:
    seen = statements(store)
    sign_in(store, "c")
    # MariaDB and MySQL have no UPDATE … RETURNING.
    assert len(seen) == (6 if store.database.engine.dialect.update_returning else 7)


@every_database
def test_counting_takes_one_statement(store: SQLAlchemyStore) -> None:
    storage = store.limits_storage()
    storage.incr("key", 60)
    seen = statements(store)
    storage.incr("key", 60)
    # MySQL has no INSERT … RETURNING.
    assert len(seen) == (1 if store.database.engine.dialect.insert_returning else 2)


@every_database
def test_a_database_without_returning_works_too(store: SQLAlchemyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for feature in ("insert_returning", "update_returning", "delete_returning"):
        monkeypatch.setattr(store.database.engine.dialect, feature, False)
    seen = statements(store)
    storage = store.limits_storage()
    assert [storage.incr("key", 60), storage.incr("key", 60)] == [1, 2]
    store.add_challenge(challenge("c"), "right")
    tries = [store.try_code("c", [digest], now=NOW, max_attempts=5) for digest in ("wrong", "right", "right")]
    assert [each.outcome for each in tries] == [Outcome.WRONG, Outcome.ACCEPTED, Outcome.SPENT]
    assert [each.attempts for each in tries] == [1, 1, 1]
    assert store.complete("c", session("s"), now=NOW)
    assert store.end_sessions(USER.id) == ["s"]
    assert store.end_sessions(USER.id) == []
    assert not any("RETURNING" in statement for statement, _ in seen)


def uses_an_index(connection: sa.Connection, statement: str, parameters: Any) -> bool:
    dialect = connection.dialect.name
    if dialect == "sqlite":
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        return not any(row[3].startswith("SCAN") for row in plan)
    if dialect == "postgresql":
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).all()
        return not any("Seq Scan" in row[0] for row in plan)
    explain = "EXPLAIN" if connection.dialect.is_mariadb else "EXPLAIN FORMAT=TRADITIONAL"  # type: ignore[attr-defined]
    plan = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    return all(row.type not in ("ALL", "index") or row.select_type == "INSERT" for row in plan)


@every_database
def test_every_statement_uses_an_index(store: SQLAlchemyStore) -> None:
    fill(store, 5000)
    seen = statements(store)
    sign_in(store, "one")
    sign_in(store, "two")
    store.add_challenge(challenge("open"), "right")
    times = {"now": later(60), "expires_at": later(660), "sent_before": later(30)}
    assert store.add_code("open", "second", **times, max_sends=4, max_attempts=5)
    store.withdraw_code("open")
    assert store.try_code("open", ["wrong", "old"], now=NOW, max_attempts=1).outcome is Outcome.WRONG
    assert store.try_code("open", ["right"], now=NOW, max_attempts=1).outcome is Outcome.EXHAUSTED
    assert store.get_session("one", now=NOW)
    assert len(store.list_sessions(USER.id, now=NOW)) == 2
    store.touch_session("one", seen_at=later(1), expires_at=later(99))
    store.claim_refresh("one", now=NOW, refreshed_before=later(1), claim_until=later(9))
    store.save_user(USER, now=NOW)
    assert store.end_session("one")
    assert store.end_sessions(USER.id, keep="one") == ["two"]
    storage = store.limits_storage()
    storage.incr("key", 60)
    storage.get("key")
    storage.get_expiry("key")
    storage.clear("key")
    storage.check()
    store.ping()
    assert store.purge(now=datetime.fromtimestamp(2, UTC), limit=3000) == 3000
    ran = dict(seen)
    assert len(ran) >= 20
    with store.database.engine.connect() as connection:
        assert [text for text, parameters in ran.items() if not uses_an_index(connection, text, parameters)] == []


def fill(store: SQLAlchemyStore, rows: int) -> None:
    """Add other people's rows, every second one of each table long expired, and tell the planner of them."""
    numbers = range(rows)
    ends = [1000 if number % 2 else 4_000_000_000_000 for number in numbers]
    with store.database.engine.begin() as connection:
        connection.execute(
            store._challenges.insert(),
            [
                {"id": f"filler{n}", "identifier": "x", "state": "open", "attempts": 0, "sends": 1, "sent_at": 0}
                | {"expires_at": ends[n], "digest_1": "x", "digest_1_expires_at": ends[n]}
                for n in numbers
            ],
        )
        connection.execute(
            store._sessions.insert(),
            [
                {"id": f"filler{n}", "user_id": f"user{n}", "snapshot": "{}", "created_at": 0, "seen_at": 0}
                | {"refreshed_at": 0, "claimed_until": 0, "ends_at": ends[n], "expires_at": ends[n]}
                for n in numbers
            ],
        )
        connection.execute(
            store._counters.insert(), [{"key": f"filler{n}", "hits": 1, "expires_at": ends[n]} for n in numbers]
        )
        analyze = {"sqlite": "ANALYZE", "postgresql": "ANALYZE"}.get(connection.dialect.name)
        for table in (store._challenges, store._sessions, store._counters):
            connection.exec_driver_sql(f"{analyze or 'ANALYZE TABLE'} {table.name}")
