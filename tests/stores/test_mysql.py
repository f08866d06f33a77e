"""The store on MySQL itself, the newest of Debian's: the contract, and what many processes do to it at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_chatbotkit_auth.stores import Store
from flask_chatbotkit_auth.testing import StoreContract
from tests.support import topologies
from tests.support.one_sign_in import one_code_is_one_sign_in
from tests.support.workers import Workers, forget_everything, opened

pytestmark = pytest.mark.engines

FOLDER = Path(os.environ.get("TEST_MYSQL_FOLDER", "/var/cache/chatbotkit-auth-mysql"))
"""Where MySQL and what it needs is put the first time, about 500 MB."""


@pytest.fixture(scope="module")
def server(installed: Callable[[str], str]) -> Iterator[str]:
    installed("debootstrap")
    with topologies.mysql(FOLDER) as url:
        yield url


@pytest.fixture(scope="module")
def url(server: str) -> str:
    return _database(server, "store")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with opened(url, "") as store:
        yield store
        forget_everything(store)


class TestOnMySQL(StoreContract):
    """The contract."""


def test_one_code_is_one_sign_in_on_mysql(store: Store, url: str) -> None:
    one_code_is_one_sign_in(store, url, "")


def make_tables(start: Callable[[], object], url: str, _prefix: str, _number: int) -> list[int]:
    from flask_chatbotkit_auth.stores import open_store

    store = open_store(url)
    start()
    store.setup()
    found = store.count_sessions("nobody", now=datetime.now(UTC))
    store.close()
    return [found]


def test_eight_workers_make_the_tables_at_once(server: str) -> None:
    workers = Workers(8)
    try:
        for turn in range(3):
            assert workers.run(make_tables, _database(server, f"fresh_{turn}")) == [0] * 8
    finally:
        workers.close()


def _database(server: str, name: str) -> str:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)
