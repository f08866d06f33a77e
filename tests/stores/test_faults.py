"""When the store breaks: a clear 503 or none the wiser, nothing half-written, no code burned, and the next request works."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event

from flask_chatbotkit_auth import User
from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.stores import Challenge, Outcome, SessionRecord, State, Store, engines, redis_connect, schema
from flask_chatbotkit_auth.stores.redis import RedisStore
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
from tests.support.kinds import SERVERS

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
USER = User(id="usr_1", email="ada@example.com")

every_server = pytest.mark.parametrize("store_url", SERVERS, indirect=True, scope="module")


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def begin(store: Store, id: str = "c") -> None:
    store.add_challenge(Challenge(id=id, identifier=USER.email, sent_at=NOW, expires_at=later(600)), "right")


def verify(store: Store, id: str = "c") -> Outcome:
    return store.try_code(id, ["right"], now=NOW, max_attempts=5).outcome


def finish(store: Store, id: str = "c", user: User = USER) -> bool:
    record = SessionRecord(
        id=id, user=user, created_at=NOW, seen_at=NOW, refreshed_at=NOW, ends_at=later(9999), expires_at=later(999)
    )
    return store.complete(id, record, now=NOW)


def state(store: Store, id: str = "c") -> tuple[State, int]:
    challenge = store.get_challenge(id)
    assert challenge
    return challenge.state, challenge.attempts


def every_step_fails(store: Store) -> None:
    """Each step of a sign-in says that the store failed, and nothing else."""
    steps: list[Callable[[], object]] = [
        lambda: begin(store, "another"),
        lambda: store.get_challenge("c"),
        lambda: verify(store),
        lambda: finish(store),
        lambda: store.get_session("c", now=NOW),
        lambda: store.end_session("c"),
        store.ping,
    ]
    for step in steps:
        with pytest.raises(StoreError, match="check that it runs") as caught:
            step()
        assert caught.value.http_status == 503


# A server that drops its connections


def drop_connections(url: str) -> None:
    """Have the server close every connection to the database but this one."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        else:
            mine = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
            for row in connection.exec_driver_sql("SHOW PROCESSLIST").all():
                if row.db == engine.url.database and row.Id != mine:
                    connection.exec_driver_sql(f"KILL {row.Id}")
    engine.dispose()


@every_server
def test_connections_dropped_while_idle_go_unnoticed(store: SQLAlchemyStore, store_url: str) -> None:
    for step in (begin, verify, finish):
        drop_connections(store_url)
        assert step(store) in (None, Outcome.ACCEPTED, True)
    drop_connections(store_url)
    assert store.limits_storage().incr("key", 60) == 1


@every_server
def test_a_connection_dropped_halfway_through_completing_leaves_nothing(store: SQLAlchemyStore, store_url: str) -> None:
    begin(store)
    verify(store)

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def drop(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO chatbotkit_auth_sessions"):
            drop_connections(store_url)

    with pytest.raises(StoreError):
        finish(store)
    event.remove(store.database.engine, "before_cursor_execute", drop)
    assert state(store) == (State.VERIFIED, 0)
    assert store.list_sessions(USER.id, now=NOW) == []
    assert finish(store)


@every_server
def test_a_row_locked_by_somebody_else_is_waited_for_and_then_given_up(store: SQLAlchemyStore, store_url: str) -> None:
    begin(store)
    limit = {"postgresql": "SET lock_timeout = '100ms'", "mysql": "SET SESSION innodb_lock_wait_timeout = 1"}
    dialect = store.database.engine.dialect.name

    @event.listens_for(store.database.engine, "checkout")
    def shorten(connection: Any, *_: object) -> None:
        connection.cursor().execute(limit[dialect])

    other = sa.create_engine(store_url)
    with other.begin() as connection:
        connection.execute(sa.select(store._challenges.c.id).with_for_update()).all()
        with pytest.raises(StoreError, match="has been locked for five seconds"):
            store.try_code("c", ["wrong"], now=NOW, max_attempts=5)
    other.dispose()
    assert state(store) == (State.OPEN, 0)
    assert verify(store) is Outcome.ACCEPTED


# PostgreSQL restarts


class PostgreSQL:
    """A server of our own, to be stopped and started."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder = folder
        self._programs = programs
        self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"
        if self._as:
            shutil.chown(folder, "postgres", "postgres")
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync", "--no-instructions")

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=1MB"
        self._run("pg_ctl", "start", "--wait", "-o", options, "-l", str(self._folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "stop", "--wait", "-m", mode)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of it, so that only the kernel answers; let them go on after twenty seconds at the latest."""
        main = (self._folder / "data" / "postmaster.pid").read_text().split()[0]
        found = subprocess.run(["pgrep", "-P", main], capture_output=True, text=True, check=True).stdout
        processes = [int(each) for each in (main, *found.split())]
        thaw = threading.Timer(20, _signal_all, (processes, signal.SIGCONT))
        thaw.start()
        _signal_all(processes, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal_all(processes, signal.SIGCONT)
            thaw.cancel()

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder)


def _signal_all(processes: list[int], what: signal.Signals) -> None:
    for each in processes:
        os.kill(each, what)


@pytest.fixture(scope="module")
def postgresql(request: pytest.FixtureRequest) -> Iterator[PostgreSQL]:
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *map(Path, os.get_exec_path())]
    programs = next((place for place in places if (place / "initdb").exists()), None)
    if programs is None or (os.getuid() == 0 and not shutil.which("setpriv")):
        missing(request, "PostgreSQL's initdb", "not installed")
    assert programs
    # Not under pytest's folder, which only its owner can enter.
    folder = Path("/tmp") / f"chatbotkit-auth-postgresql-{os.getpid()}"  # noqa: S108
    folder.mkdir(mode=0o700)
    server = None
    try:
        server = PostgreSQL(folder, programs)
        server.start()
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(folder)


def missing(request: pytest.FixtureRequest, name: str, reason: str) -> None:
    if request.config.getoption("--require-services"):
        pytest.fail(f"{name}: {reason}")
    pytest.skip(f"{name}: {reason}")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_restarts_between_request_and_verify(postgresql: PostgreSQL, mode: str) -> None:
    store = SQLAlchemyStore(postgresql.url)
    begin(store, mode)
    postgresql.stop(mode)
    every_step_fails(store)
    postgresql.start()
    assert verify(store, mode) is Outcome.ACCEPTED
    assert finish(store, mode)
    store.close()


def test_a_postgresql_that_does_not_answer_is_given_up(postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_SILENCE", 0.3)
    monkeypatch.setitem(engines._CONNECT_ARGS["psycopg"], "connect_timeout", 1)
    store = SQLAlchemyStore(postgresql.url)
    begin(store, "frozen")
    steps: list[Callable[[], object]] = [
        lambda: verify(store, "frozen"),  # on the connection that it has
        lambda: begin(store, "another"),  # on a new one
        store.ping,
    ]
    with postgresql.frozen():
        for step in steps:
            with pytest.raises(StoreError, match="the server does not answer in time"):
                step()
    assert state(store, "frozen") == (State.OPEN, 0)
    assert verify(store, "frozen") is Outcome.ACCEPTED
    assert finish(store, "frozen")
    store.close()


def test_a_statement_is_given_up_without_an_answer_and_the_tables_are_made_however_long_it_takes(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_SILENCE", 0.3)
    monkeypatch.setattr(schema, "make", lambda connection, _: connection.exec_driver_sql("SELECT pg_sleep(1)"))
    store = SQLAlchemyStore(postgresql_url)
    store.setup()
    with pytest.raises(StoreError, match="does not answer in time"):
        store.database.run(lambda connection: connection.exec_driver_sql("SELECT pg_sleep(1)"))
    store.close()


# Redis goes away


class Redis:
    """A server of our own, to be stopped and started; it keeps its data in a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        command = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout
        for line in self.process.stdout:
            if b"Ready to accept connections" in line:
                return
        raise AssertionError("redis-server does not start")

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def redis(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Redis]:
    if not shutil.which("redis-server"):
        missing(request, "redis-server", "not installed")
    server = Redis(tmp_path)
    server.start()
    yield server
    server.stop()


def test_redis_is_gone_for_a_while(redis: Redis) -> None:
    store = RedisStore(redis.url)
    begin(store)
    redis.stop()
    every_step_fails(store)
    redis.start()
    assert state(store) == (State.OPEN, 0)
    assert verify(store) is Outcome.ACCEPTED
    assert finish(store)
    store.close()


def test_connections_to_redis_dropped_while_idle_go_unnoticed(redis: Redis) -> None:
    store, other = RedisStore(redis.url), RedisStore(redis.url)
    for step in (begin, verify, finish):
        other.client.client_kill_filter(_type="normal", skipme=True)
        assert step(store) in (None, Outcome.ACCEPTED, True)
    store.close()
    other.close()


def test_a_redis_that_does_not_answer_is_given_up(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_connect, "TIMEOUT", 0.2)
    store = RedisStore(redis.url)
    begin(store)
    # It takes the command and keeps quiet for longer than the time-out.
    store.client.client_pause(1000, all=False)
    with pytest.raises(StoreError, match="TimeoutError"):
        verify(store)
    store.client.client_unpause()
    assert state(store) in ((State.OPEN, 0), (State.VERIFIED, 0))
    store.close()


def test_a_redis_that_may_not_be_written_to_changes_nothing(redis: Redis) -> None:
    store = RedisStore(redis.url)
    begin(store)
    store.client.config_set("maxmemory", "1")
    with pytest.raises(StoreError, match="give it more memory"):
        begin(store, "another")
    with pytest.raises(StoreError):
        store.try_code("c", ["wrong"], now=NOW, max_attempts=5)
    store.client.config_set("maxmemory", "0")
    assert state(store) == (State.OPEN, 0)
    assert verify(store) is Outcome.ACCEPTED
    store.client.config_set("maxmemory", "1")
    with pytest.raises(StoreError):
        finish(store)
    store.client.config_set("maxmemory", "0")
    assert state(store) == (State.VERIFIED, 0)
    assert store.list_sessions(USER.id, now=NOW) == []
    assert finish(store)
    store.close()


# SQLite is locked by another process


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have another process hold the write lock of a database."""
    program = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "connection.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"locked\n"
        yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "BUSY_TIMEOUT", 0.1)


@pytest.mark.usefixtures("impatient")
def test_sqlite_is_locked_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SQLAlchemyStore(f"sqlite:///{path}")
    begin(store)
    with locked(path):
        for step in (begin, verify, finish):
            with pytest.raises(StoreError, match="has been locked for five seconds"):
                step(store, "c")
        assert state(store) == (State.OPEN, 0)
    assert verify(store) is Outcome.ACCEPTED
    with locked(path), pytest.raises(StoreError):
        finish(store)
    assert state(store) == (State.VERIFIED, 0)
    assert finish(store)
    store.close()


@pytest.mark.usefixtures("impatient")
def test_the_failure_leaves_no_transaction_open(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SQLAlchemyStore(f"sqlite:///{path}")
    begin(store)
    kept = []
    with locked(path):
        for _ in range(20):  # more than the pool has connections
            with pytest.raises(StoreError) as caught:
                verify(store)
            kept.append(caught.value)
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    other.execute("ROLLBACK")
    other.close()
    assert verify(store) is Outcome.ACCEPTED
    store.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("own_engine", [False, True])
def test_a_commit_that_fails_leaves_nothing(tmp_path: Path, own_engine: bool, shared: bool) -> None:
    path = tmp_path / "store.db"
    url = f"sqlite:///{path}"
    store = SQLAlchemyStore(url)
    begin(store)
    assert verify(store) is Outcome.ACCEPTED
    store.close()
    # Without WAL, as on a network disk, a reader stops a writer at its COMMIT, and no earlier.
    reader = sqlite3.connect(path, isolation_level=None)
    assert reader.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    store = SQLAlchemyStore(sa.create_engine(url, connect_args={"timeout": 0.1}) if own_engine else url)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sqlite_master").fetchall()
    with store.database.connected() if shared else nullcontext():
        with pytest.raises(StoreError, match="has been locked for five seconds"):
            finish(store)
        reader.execute("COMMIT")
        assert state(store) == (State.VERIFIED, 0)
    assert store.list_sessions(USER.id, now=NOW) == []
    reader.execute("BEGIN EXCLUSIVE")
    reader.execute("ROLLBACK")
    reader.close()
    assert finish(store)
    store.database.engine.dispose()


@pytest.mark.usefixtures("impatient")
def test_the_tables_cannot_be_made_while_sqlite_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    sqlite3.connect(path).close()
    store = SQLAlchemyStore(f"sqlite:///{path}")
    with locked(path), pytest.raises(StoreError):
        begin(store)
    begin(store)
    assert verify(store) is Outcome.ACCEPTED
    store.close()


@pytest.mark.usefixtures("impatient")
def test_a_person_is_told_to_try_again_and_can(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SQLAlchemyStore(f"sqlite:///{path}")
    codes: list[str] = []
    app = make_app(store=store)
    app.extensions["test_auth"].send_verification_request(lambda code: codes.append(code))
    client = app.test_client()

    def post(page: str, **body: str) -> tuple[int, Any]:
        headers = {"X-CSRFToken": client.get("/auth/session").get_json()["csrf_token"]}
        answer = client.post(f"/auth/{page}", json=body, headers=headers)
        return answer.status_code, answer.get_json()

    assert post("sign-in", email=USER.email)[0] == 200
    with locked(path):
        status, answer = post("verify", code=codes[0])
        assert (status, answer["error"]["code"]) == (503, "store_unavailable")
    status, answer = post("verify", code=codes[0])
    assert (status, answer["user"]["email"]) == (200, USER.email)
    store.close()


# The disk is full


def fill_up(store: Store) -> int:
    """Add challenges until the store has no more room; return how many fitted."""
    for number in range(10_000):
        try:
            begin(store, f"filler-{number}-{'x' * 40}")
        except StoreError:
            return number
    raise AssertionError("there is no end to it")


def runs_full(store: SQLAlchemyStore, make_room: Callable[[], object]) -> None:
    for id in ("c", "d"):
        begin(store, id)
    assert verify(store, "d") is Outcome.ACCEPTED
    assert fill_up(store) > 0
    with pytest.raises(StoreError):
        finish(store, "d", replace(USER, meta={"notes": "x" * 300_000}))
    assert state(store, "c") == (State.OPEN, 0)
    assert state(store, "d") == (State.VERIFIED, 0)
    assert store.list_sessions(USER.id, now=NOW) == []
    make_room()
    assert verify(store, "c") is Outcome.ACCEPTED
    assert finish(store, "c")
    assert finish(store, "d")
    with store.database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_a_full_database(tmp_path: Path) -> None:
    store = SQLAlchemyStore(f"sqlite:///{tmp_path}/store.db")
    store.setup()
    pages = 40

    def limit(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(store.database.engine, "checkout", limit)

    def make_room() -> None:
        nonlocal pages
        pages = 4000

    runs_full(store, make_room)
    store.close()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk(tiny_disk: Path) -> None:
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    store = SQLAlchemyStore(f"sqlite:///{tiny_disk}/store.db")
    runs_full(store, ballast.unlink)
    store.close()
