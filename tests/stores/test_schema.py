"""The upgrade from the tables of 0.1, with rows in them: by the first use, beside 0.1, and where nobody may alter a table."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_chatbotkit_auth import User
from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.stores import Challenge, Outcome, SessionRecord, State
from flask_chatbotkit_auth.stores.schema import VERSION
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
from tests.support import release_0_1 as old
from tests.support.kinds import DATABASES, SERVERS
from tests.support.workers import at_once

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)

every_database = pytest.mark.parametrize("store_url", DATABASES, indirect=True, scope="module")


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
def engine(store_url: str) -> Iterator[sa.Engine]:
    """A database with the tables of 0.1 and a few rows in each."""
    engine = sa.create_engine(store_url)
    with engine.begin() as connection:
        old.make_tables(connection)
        old.add_challenge(connection, "open", codes=4)
        old.add_challenge(connection, "verified", state="verified")
        old.add_session(connection, "signed in")
        connection.execute(sa.insert(old.limits), {"key": "key", "hits": 3, "expires_at": old.NOW + old.MINUTE})
    yield engine
    metadata = sa.MetaData()
    metadata.reflect(engine)
    metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def upgraded(engine: sa.Engine, store_url: str) -> Iterator[SQLAlchemyStore]:
    """The store of this release on that database; nobody ran init-db."""
    store = SQLAlchemyStore(store_url)
    yield store
    store.close()


def session(id: str = "new") -> SessionRecord:
    user = old_session_user()
    return SessionRecord(id, user, NOW, NOW, NOW, later(9999), later(999), audience="shop", adapter="partner")


def old_session_user() -> User:
    return User(id="usr_1", email="ada@example.com")


def columns_of(engine: sa.Engine) -> dict[str, set[str]]:
    inspector = sa.inspect(engine)
    return {name: {each["name"] for each in inspector.get_columns(name)} for name in inspector.get_table_names()}


@every_database
def test_the_first_use_adds_what_is_missing_and_keeps_the_rows(upgraded: SQLAlchemyStore, engine: sa.Engine) -> None:
    assert upgraded.get_session("signed in", now=NOW) is not None
    expected = {table.name: set(table.columns.keys()) for table in upgraded.database.metadata.tables.values()}
    assert columns_of(engine) == expected
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT version FROM chatbotkit_auth_schema")).scalars().all() == [VERSION]
    upgraded.ping()


@every_database
def test_a_code_and_a_session_of_0_1_go_on_working(upgraded: SQLAlchemyStore) -> None:
    record = upgraded.get_session("signed in", now=NOW)
    assert record
    assert (record.user.email, record.user.meta["plan"]) == ("ada@example.com", "pro")
    assert (record.identifier, record.audience, record.adapter, record.proved_at) == (None, None, None, None)
    assert (record.client, record.method, record.name) == ("browser", None, None)
    upgraded.stamp_session("signed in", audience="shop", adapter="partner")
    record = upgraded.get_session("signed in", now=NOW)
    assert record
    assert (record.audience, record.adapter) == ("shop", "partner")

    challenge = upgraded.get_challenge("open")
    assert challenge
    assert (challenge.purpose, challenge.user_id, challenge.tries, challenge.sends) == ("sign_in", None, 0, 4)
    assert upgraded.try_code("open", ["code 2"], now=NOW, max_attempts=5).outcome is Outcome.ACCEPTED
    assert upgraded.count_try("verified", now=NOW, max_tries=10)
    assert upgraded.complete("verified", session(), now=NOW)
    assert upgraded.limits_storage().get("key") == 0  # over by the clock of the wall
    assert upgraded.end_sessions("usr_1") != []


@every_database
def test_the_third_and_fourth_code_of_0_1_have_stopped_working(upgraded: SQLAlchemyStore) -> None:
    for digest in ("code 3", "code 4"):
        assert upgraded.try_code("open", [digest], now=NOW, max_attempts=5).outcome is Outcome.WRONG


@every_database
def test_a_challenge_that_is_claimed_is_verified_to_0_1(upgraded: SQLAlchemyStore, engine: sa.Engine) -> None:
    upgraded.add_challenge(Challenge("ours", "ada@example.com", NOW, later(600)), "right")
    assert upgraded.try_code("ours", ["right"], now=NOW, max_attempts=5).outcome is Outcome.ACCEPTED
    assert upgraded.claim("ours", now=NOW, max_tries=10)
    with engine.begin() as connection:
        state = connection.execute(sa.select(old.challenges.c.state).where(old.challenges.c.id == "ours")).scalar()
        assert state in ("open", "verified", "completed")  # what 0.1 knows of
        assert old.complete(connection, "ours", "theirs")
    done = upgraded.get_challenge("ours")
    assert done
    assert (done.state, done.claimed_until) == (State.COMPLETED, None)


@every_database
def test_two_releases_work_side_by_side(upgraded: SQLAlchemyStore, engine: sa.Engine) -> None:
    upgraded.ping()
    upgraded.add_challenge(Challenge("ours", "ada@example.com", NOW, later(600)), "right")
    with engine.begin() as connection:
        old.make_tables(connection)  # as each of its processes does at its first use
        old.add_challenge(connection, "theirs")
        assert old.try_code(connection, "ours", "right")
        assert old.complete(connection, "ours", "theirs")
        old.touch_session(connection, "theirs")
        assert old.get_session(connection, "theirs") == "usr_1"
    upgraded.ping()
    assert upgraded.try_code("theirs", ["code 1"], now=NOW, max_attempts=5).outcome is Outcome.ACCEPTED
    assert upgraded.complete("theirs", session("ours"), now=NOW)
    with engine.begin() as connection:
        assert old.get_session(connection, "ours") == "usr_1"
        old.touch_session(connection, "ours")
    found = {each.id for each in upgraded.list_sessions("usr_1", now=NOW)}
    assert found == {"signed in", "theirs", "ours"}
    # What 0.1 has written is forgotten, too, when its time is over.
    assert upgraded.purge(now=later(31 * 86_400)) == 8
    assert upgraded.list_sessions("usr_1", now=NOW) == []


@every_database
def test_forty_threads_look_at_the_tables_once(upgraded: SQLAlchemyStore, store_url: str) -> None:
    upgraded.ping()
    fresh = SQLAlchemyStore(store_url)
    ran: list[str] = []

    @sa.event.listens_for(fresh.database.engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, _p: object, _context: object, _many: bool) -> None:
        ran.append(statement)

    at_once(40, lambda _: fresh.get_session("signed in", now=NOW))
    versions = [each for each in ran if "version" in each and "chatbotkit_auth_schema" in each]
    assert len(versions) == 1
    assert len(ran) - 40 <= 12
    fresh.close()


@every_database
def test_eight_processes_upgrade_at_once(engine: sa.Engine, store_url: str) -> None:
    stores = [SQLAlchemyStore(store_url) for _ in range(8)]
    found = at_once(8, lambda number: stores[number].get_session("signed in", now=NOW))
    assert all(found)
    assert columns_of(engine)["chatbotkit_auth_sessions"] >= {"audience", "proved_at"}
    for store in stores:
        store.close()


@every_database
def test_tables_that_were_dropped_while_we_run_are_made_again(upgraded: SQLAlchemyStore, engine: sa.Engine) -> None:
    upgraded.ping()
    with engine.begin() as connection:
        for name in ("challenges", "sessions", "limits"):
            connection.execute(sa.text(f"DROP TABLE chatbotkit_auth_{name}"))
    upgraded.add_challenge(Challenge("ours", "ada@example.com", NOW, later(600)), "right")
    assert upgraded.try_code("ours", ["right"], now=NOW, max_attempts=5).outcome is Outcome.ACCEPTED
    assert upgraded.complete("ours", session(), now=NOW)
    assert upgraded.limits_storage().incr("key", 60) == 1


# An account that may read and write, and may not alter


@pytest.fixture
def bounded_url(engine: sa.Engine, store_url: str) -> Iterator[str]:
    """The URL of the same database for such an account."""
    url = sa.make_url(store_url)
    name = f"clerk{uuid.uuid4().hex[:8]}"
    if url.get_backend_name() == "sqlite":
        pytest.skip("SQLite has no accounts")
    if url.get_backend_name() == "postgresql":
        grant = [
            f"CREATE ROLE {name} LOGIN PASSWORD 'x'",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}",
            f"GRANT USAGE ON SCHEMA public TO {name}",
        ]
        drop = [f"DROP OWNED BY {name}", f"DROP ROLE {name}"]
    else:
        grant = [
            f"CREATE USER {name}@'%' IDENTIFIED BY 'x'",
            f"CREATE USER {name}@localhost IDENTIFIED BY 'x'",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {url.database}.* TO {name}@'%'",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {url.database}.* TO {name}@localhost",
        ]
        drop = [f"DROP USER {name}@'%'", f"DROP USER {name}@localhost"]
    with engine.begin() as connection:
        for statement in grant:
            connection.exec_driver_sql(statement.replace("%", "%%"))
    yield url.set(username=name, password="x").render_as_string(hide_password=False)
    with engine.begin() as connection:
        for statement in drop:
            connection.exec_driver_sql(statement.replace("%", "%%"))


@pytest.mark.parametrize("store_url", SERVERS, indirect=True, scope="module")
def test_an_account_that_may_not_alter_names_init_db(bounded_url: str, store_url: str, engine: sa.Engine) -> None:
    bounded = SQLAlchemyStore(bounded_url)
    for _ in range(2):
        with pytest.raises(StoreError, match="init-db"):
            bounded.get_session("signed in", now=NOW)
    administrator = SQLAlchemyStore(store_url)
    administrator.setup()
    administrator.close()
    if "postgresql" in store_url:
        with engine.begin() as connection:
            name = sa.make_url(bounded_url).username
            connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}")
    assert bounded.get_session("signed in", now=NOW)
    bounded.close()


def test_a_file_that_may_not_be_written_names_init_db(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        old.make_tables(connection)
    engine.dispose()
    path.chmod(0o444)
    store = SQLAlchemyStore(f"sqlite:///file:{path}?mode=ro&uri=true")
    with pytest.raises(StoreError, match=r"read-only.*init-db"):
        store.get_session("x", now=NOW)
    store.close()


# PostgreSQL writes no index when a session is used


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True, scope="module")
def test_the_use_of_a_session_writes_no_index(upgraded: SQLAlchemyStore, engine: sa.Engine) -> None:
    for number in range(50):
        upgraded.add_session(session(f"s{number}"), now=NOW)
    for turn in range(20):
        for number in range(50):
            upgraded.touch_session(f"s{number}", seen_at=later(turn), expires_at=later(999 + turn))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("SELECT pg_stat_clear_snapshot()"))
        indexed = connection.execute(
            sa.text("SELECT string_agg(indexdef, ' ') FROM pg_indexes WHERE tablename = 'chatbotkit_auth_sessions'")
        ).scalar_one()
        assert "expires_at" not in indexed
        assert "seen_at" not in indexed
        options = sa.text("SELECT reloptions FROM pg_class WHERE relname = 'chatbotkit_auth_sessions'")
        assert connection.execute(options).scalar_one() == ["fillfactor=70"]
