"""What only MySQL itself does; the store's other tests run on it as the kind ``mysql``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from tests.support.workers import Workers

pytestmark = pytest.mark.engines


def make_tables(start: Callable[[], object], url: str, _prefix: str, _number: int) -> list[int]:
    from flask_chatbotkit_auth.stores import open_store

    store = open_store(url)
    start()
    store.setup()
    found = store.count_sessions("nobody", now=datetime.now(UTC))
    store.close()
    return [found]


def test_eight_workers_make_the_tables_at_once(mysql: str) -> None:
    workers = Workers(8)
    try:
        for turn in range(3):
            assert workers.run(make_tables, _database(mysql, f"fresh_{turn}")) == [0] * 8
    finally:
        workers.close()


def _database(server: str, name: str) -> str:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)
