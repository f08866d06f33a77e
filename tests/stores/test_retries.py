"""What is tried again and what is not, row by row of docs/topologies, with the real fault of a real server."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.stores import Challenge, Outcome, State, Store, engines, open_store
from flask_chatbotkit_auth.stores.database import Database
from flask_chatbotkit_auth.stores.redis import RedisStore
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
from tests.support.kinds import SERVERS, VALKEY
from tests.support.redis_server import redis_server
from tests.support.relay import relay

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
TRIES = 8

every_server = pytest.mark.parametrize("store_url", SERVERS, indirect=True, scope="module")


def begin(store: Store) -> str:
    id = uuid.uuid4().hex
    store.add_challenge(Challenge(id, "ada@example.com", sent_at=NOW, expires_at=NOW + timedelta(minutes=10)), "right")
    return id


def state(store: Store, id: str) -> tuple[State, int]:
    challenge = store.get_challenge(id)
    assert challenge
    return challenge.state, challenge.attempts


@pytest.fixture
def sql(store_url: str) -> Iterator[SQLAlchemyStore]:
    store = SQLAlchemyStore(store_url, pool=2)
    store.setup()
    yield store
    store.close()


# A transaction that lost against another one; for a deadlock see test_database.py


@pytest.fixture
def strict(store_url: str) -> Iterator[Database]:
    """A database of an application whose transactions see one moment, and fail where a row was changed since."""
    engine = sa.create_engine(store_url, isolation_level="REPEATABLE READ")
    if engine.dialect.name == "mysql":

        @event.listens_for(engine, "connect")
        def refuse(connection: Any, _record: object) -> None:
            connection.cursor().execute("SET SESSION innodb_snapshot_isolation = ON")

    database = Database(engine)
    yield database
    database.metadata.drop_all(engine)
    engine.dispose()


@pytest.mark.parametrize("store_url", ["postgresql", "mariadb"], indirect=True, scope="module")
@pytest.mark.parametrize("beaten", [2, TRIES])
def test_a_transaction_that_another_one_has_outrun_is_run_again(strict: Database, store_url: str, beaten: int) -> None:
    things = sa.Table(
        "things", strict.metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer)
    )
    strict.change(sa.insert(things).values(id=1, n=0))
    more = sa.update(things).values(n=things.c.n + 1)
    other, tries = sa.create_engine(store_url), []

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.select(things)).all()
        tries.append(1)
        if len(tries) <= beaten:
            with other.begin() as faster:
                faster.execute(more)
        connection.execute(more)

    if beaten < TRIES:
        strict.run(work)
        assert strict.first(sa.select(things.c.n)) == (beaten + 1,)
    else:
        with pytest.raises(StoreError):
            strict.run(work)
        assert len(tries) == TRIES
        assert strict.first(sa.select(things.c.n)) == (TRIES,)
    other.dispose()


# Too many connections


@contextmanager
def one_connection(store_url: str) -> Iterator[str]:
    """The URL of an account that may have one connection at once."""
    engine, name = sa.create_engine(store_url, isolation_level="AUTOCOMMIT"), f"one_{uuid.uuid4().hex[:8]}"
    if engine.dialect.name == "postgresql":
        make = [f"CREATE ROLE {name} LOGIN PASSWORD 'x' CONNECTION LIMIT 1"]
        make.append(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
        drop = [f"DROP OWNED BY {name}", f"DROP ROLE {name}"]
    else:
        places = [f"{name}@localhost", f"{name}@'%%'"]
        make = [f"CREATE USER {each} IDENTIFIED BY 'x' WITH MAX_USER_CONNECTIONS 1" for each in places]
        make += [f"GRANT ALL ON {engine.url.database}.* TO {each}" for each in places]
        drop = [f"DROP USER {each}" for each in places]
    with engine.connect() as connection:
        for statement in make:
            connection.exec_driver_sql(statement)
        yield engine.url.set(username=name, password="x").render_as_string(hide_password=False)
        for statement in drop:
            connection.exec_driver_sql(statement)
    engine.dispose()


@every_server
@pytest.mark.parametrize("until", [3, None])
def test_too_many_connections_are_waited_for(
    sql: SQLAlchemyStore, store_url: str, until: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, pauses, sleep = begin(sql), [], time.sleep
    with one_connection(store_url) as url:
        store, other = SQLAlchemyStore(url), sa.create_engine(url, poolclass=sa.pool.NullPool).connect()

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == until:
                other.close()
            sleep(seconds)

        monkeypatch.setattr("flask_chatbotkit_auth.stores.database.time.sleep", pause)
        if until is None:
            with pytest.raises(StoreError, match="too many connections"):
                store.get_challenge(id)
            assert len(pauses) == TRIES - 1
            assert sum(pauses) < 2
        else:
            assert state(store, id) == (State.OPEN, 0)
            assert len(pauses) >= until
        assert pauses == sorted(pauses)
        store.close()
        other.close()


@every_server
def test_a_pool_that_is_in_use_is_waited_for(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "BUSY_TIMEOUT", 0.1)
    store = SQLAlchemyStore(store_url, pool=1)
    store.setup()
    with store.database.engine.connect(), pytest.raises(StoreError, match="CHATBOTKIT_AUTH_STORE_POOL"):
        begin(store)
    begin(store)
    store.close()


# A server that takes no writes


def forbid_writes(connection: Any, _record: object = None) -> None:
    """Have a connection refuse what writes, as one does to a primary that has become a replica."""
    postgresql = type(connection).__module__.startswith("psycopg")
    setting = "default_transaction_read_only = on" if postgresql else "SESSION TRANSACTION READ ONLY"
    connection.cursor().execute(f"SET {setting}")
    connection.commit()


@every_server
def test_connections_to_a_primary_that_is_one_no_more_are_replaced_unseen(sql: SQLAlchemyStore) -> None:
    with sql.database.engine.connect() as one, sql.database.engine.connect() as two:
        for each in (one, two):
            forbid_writes(each.connection.dbapi_connection)
    opened: list[object] = []
    event.listen(sql.database.engine, "connect", lambda connection, _record: opened.append(connection))
    id = begin(sql)
    assert state(sql, id) == (State.OPEN, 0)
    assert sql.try_code(id, ["right"], now=NOW, max_attempts=5).outcome is Outcome.ACCEPTED
    assert len(opened) == 2


@every_server
def test_a_server_that_takes_no_writes_is_asked_twice(sql: SQLAlchemyStore) -> None:
    sql.close()
    statements: list[str] = []
    event.listen(sql.database.engine, "connect", forbid_writes)
    event.listen(sql.database.engine, "before_cursor_execute", lambda *about: statements.append(about[2]))
    with pytest.raises(StoreError, match="read-only"):
        begin(sql)
    assert len([each for each in statements if each.startswith("INSERT")]) == 2


def test_connections_to_a_redis_that_has_become_a_replica_are_given_up(
    installed: Callable[[str], str], tmp_path: Path
) -> None:
    installed("redis-server")
    with redis_server(tmp_path / "first") as first, redis_server(tmp_path / "second") as second:
        before, after = sa.make_url(first), sa.make_url(second)
        with relay("127.0.0.1", before.port or 0) as way:
            store = RedisStore(f"redis://127.0.0.1:{way.port}/0")
            begin(store)
            store.client.replicaof("127.0.0.1", after.port)
            way.server = ("127.0.0.1", after.port or 0)  # as an address that moves to the new primary
            with pytest.raises(StoreError, match="replica"):
                begin(store)
            assert state(store, begin(store)) == (State.OPEN, 0)
            store.close()


# A connection that breaks before the answer arrives


@pytest.mark.parametrize("store_url", [*SERVERS, "redis", VALKEY], indirect=True, scope="module")
@pytest.mark.parametrize("code", ["right", "wrong"])
def test_a_step_whose_answer_is_lost_is_not_run_again(store_url: str, code: str) -> None:
    where = sa.make_url(store_url)
    with relay(where.host or "", where.port or 0) as way:
        store = open_store(where.set(host="127.0.0.1", port=way.port).render_as_string(hide_password=False))
        store.setup()
        # Redis has the script before, or the answer that is lost is that it has not.
        store.try_code(begin(store), ["wrong"], now=NOW, max_attempts=5)
        id = begin(store)

        def lose(*_: object) -> None:
            way.lose_the_next_answer()

        if not isinstance(store, SQLAlchemyStore):
            lose()
        elif store.database.engine.dialect.name == "postgresql":
            event.listen(store.database.engine, "before_cursor_execute", lose, once=True)
        else:
            event.listen(store.database.engine, "commit", lose, once=True)
        with pytest.raises(StoreError):
            store.try_code(id, [code], now=NOW, max_attempts=5)
        assert state(store, id) == ((State.VERIFIED, 0) if code == "right" else (State.OPEN, 1))
        # Whoever sends a right code once more comes in.
        again = store.try_code(id, ["right"], now=NOW, max_attempts=5)
        assert again.outcome is Outcome.ACCEPTED or again.again
        store.close()
