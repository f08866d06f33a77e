"""The tables as a part of an application's own migrations, through Flask-SQLAlchemy, Flask-Migrate and Alembic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_chatbotkit_auth import User
from flask_chatbotkit_auth.migrations import include_name
from flask_chatbotkit_auth.stores import Challenge, Outcome, SessionRecord
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
from tests.support import release_0_1 as old
from tests.support.kinds import DATABASES
from tests.support.samples import sample

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
NAMES = ("challenges", "sessions", "limits", "spent", "passkeys", "events", "schema")
OURS = {f"chatbotkit_auth_{name}" for name in NAMES}

pytestmark = [
    pytest.mark.parametrize("store_url", DATABASES, indirect=True, scope="module"),
    # The env.py that Flask-Migrate writes.
    pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:No path_separator found:DeprecationWarning"),
]


@pytest.fixture
def db(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SQLAlchemy]:
    """The database of an application that has a table of its own and keeps its migrations in ``tmp_path``."""
    # Alembic's env.py sets up logging anew, for every test that comes after.
    monkeypatch.setattr("logging.config.fileConfig", lambda *_, **__: None)
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = store_url
    db = SQLAlchemy(app)
    sa.Table("orders", db.metadata, sa.Column("id", sa.Integer, primary_key=True))
    flask_migrate.Migrate(app, db, directory=str(tmp_path / "migrations"))
    with app.app_context():
        yield db
        db.drop_all()
        with db.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")
        db.engine.dispose()


def tables(db: SQLAlchemy) -> set[str]:
    return set(sa.inspect(db.engine).get_table_names()) - {"alembic_version"}


def test_the_tables_are_made_and_dropped_by_the_applications_migrations(db: SQLAlchemy, tmp_path: Path) -> None:
    store = SQLAlchemyStore(db)
    flask_migrate.init()
    flask_migrate.migrate(message="add sign-in")
    assert tables(db) == set()
    flask_migrate.upgrade()
    assert tables(db) == {"orders"} | OURS

    store.ping()
    store.add_challenge(Challenge("c", "ada@example.com", NOW, NOW + timedelta(minutes=10)), "right")
    assert store.try_code("c", ["right"], now=NOW, max_attempts=5).outcome is Outcome.ACCEPTED
    user = User(id="u", email="ada@example.com")
    end = NOW + timedelta(days=1)
    assert store.complete("c", SessionRecord("s", user, NOW, NOW, NOW, end, end), now=NOW)
    assert store.limits_storage().incr("key", 60) == 1

    # The migration has made all of it, indexes too: nothing is left to autogenerate.
    with db.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), db.metadata) == []

    flask_migrate.downgrade()
    assert tables(db) == set()


def test_an_application_that_has_migrations_adds_the_tables(db: SQLAlchemy, tmp_path: Path) -> None:
    flask_migrate.init()
    flask_migrate.migrate(message="begin")
    flask_migrate.upgrade()
    assert tables(db) == {"orders"}
    SQLAlchemyStore(db)
    flask_migrate.migrate(message="add sign-in")
    flask_migrate.upgrade()
    assert tables(db) == {"orders"} | OURS
    flask_migrate.downgrade()
    assert tables(db) == {"orders"}


def test_a_store_with_a_url_is_left_alone_by_the_applications_migrations(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logging.config.fileConfig", lambda *_, **__: None)
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = store_url
    db = SQLAlchemy(app)
    sa.Table("orders", db.metadata, sa.Column("id", sa.Integer, primary_key=True))
    flask_migrate.Migrate(app, db, directory=str(tmp_path / "migrations"), include_name=include_name)
    store = SQLAlchemyStore(store_url)
    store.setup()
    with app.app_context():
        flask_migrate.init()
        flask_migrate.migrate(message="begin")
        flask_migrate.upgrade()
        assert tables(db) == {"orders"} | OURS
        store.database.metadata.drop_all(db.engine)
        db.drop_all()
        with db.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")
        db.engine.dispose()
    store.close()


def test_the_revision_of_the_documentation_upgrades_the_tables_of_0_1(store_url: str) -> None:
    engine = sa.create_engine(store_url)
    revision: dict[str, Any] = {}
    exec(sample("upgrade-revision").code, revision)  # noqa: S102  # our own page
    with engine.begin() as connection:
        old.make_tables(connection)
        old.add_session(connection, "signed in")
        context = MigrationContext.configure(connection)
        with Operations.context(context):
            revision["upgrade"]()
    db = SQLAlchemy(metadata=sa.MetaData())
    store = SQLAlchemyStore(db)
    with engine.begin() as connection:
        # A column of 0.1 is never changed.
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, store.database.metadata) == []
        assert old.get_session(connection, "signed in") == "usr_1"
        store.database.metadata.drop_all(connection)
    engine.dispose()


def shape(connection: sa.Connection) -> dict[str, Any]:
    """What the tables are made of."""
    inspector, found = sa.inspect(connection), {}
    for name in sorted(OURS):
        columns = {
            each["name"]: (str(each["type"]), each["nullable"], each["default"]) for each in inspector.get_columns(name)
        }
        indexes = {each["name"]: (each["column_names"], bool(each["unique"])) for each in inspector.get_indexes(name)}
        found[name] = {"columns": columns, "indexes": indexes, "key": inspector.get_pk_constraint(name)}
        if connection.dialect.name == "postgresql":
            options = sa.text("SELECT reloptions FROM pg_class WHERE relname = :name")
            found[name]["options"] = connection.execute(options, {"name": name}).scalar()
    return found


def test_the_revision_of_the_documentation_makes_what_init_db_makes(store_url: str) -> None:
    engine = sa.create_engine(store_url)
    revision: dict[str, Any] = {}
    exec(sample("upgrade-revision").code, revision)  # noqa: S102  # our own page
    with engine.begin() as connection:
        old.make_tables(connection)
    store = SQLAlchemyStore(store_url)
    store.setup()
    with engine.begin() as connection:
        by_init_db = shape(connection)
        store.database.metadata.drop_all(connection)
    store.close()
    with engine.begin() as connection:
        old.make_tables(connection)
        with Operations.context(MigrationContext.configure(connection)):
            revision["upgrade"]()
    with engine.begin() as connection:
        assert shape(connection) == by_init_db
        store.database.metadata.drop_all(connection)
    engine.dispose()
