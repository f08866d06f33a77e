"""Does a sign-in get slower as the store grows? Issue and verify a code beside 10³, 10⁴, 10⁵, 10⁶ rows on each engine.

Run ``python -m benchmarks.growth``; ``--max 10000`` for a quick look. The servers are those of the tests: see
``TEST_POSTGRESQL_URL``, ``TEST_MARIADB_URL`` and ``TEST_REDIS_URL``. One that cannot be reached is left out. What is made
there, in a database or under a prefix of its own, is removed at the end.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.stores import Challenge, Outcome, Store
from flask_chatbotkit_auth.stores.redis import RedisStore
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore

NOW = datetime.now(UTC)
MEASURED = 400
_BATCH = 1000
"""No more: MySQL and MariaDB count no further by themselves."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--max", type=int, default=1_000_000, help="the most rows of each table (default: %(default)s)")
    most = parser.parse_args().max
    sizes = [size for size in (10**3, 10**4, 10**5, 10**6) if size <= most]
    print("median of issue + verify, in microseconds, and its ratio to that beside 1,000 rows")
    print(f"{'engine':<12}" + "".join(f"{size:>16,}" for size in sizes))
    for name, opened in ENGINES.items():
        try:
            with ExitStack() as stack:
                stores = [stack.enter_context(opened()) for _ in sizes]
                for store, size in zip(stores, sizes, strict=True):
                    fill(store, size)
                medians = measure(stores)
        except (StoreError, sa.exc.SQLAlchemyError) as error:
            print(f"{name:<12}not reached ({type(error).__name__})")
            continue
        cells = [f"{median:,.0f} ({median / medians[0]:.2f}x)" for median in medians]
        print(f"{name:<12}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def measure(stores: list[Store]) -> list[float]:
    """Return the median of each store. They take turns, so that whatever else the machine does slows all of them alike."""
    for store in stores:
        for _ in range(MEASURED // 4):
            sign_in(store)
    taken: list[list[float]] = [[] for _ in stores]
    for _ in range(MEASURED):
        for store, mine in zip(stores, taken, strict=True):
            mine.append(sign_in(store))
    return [statistics.median(mine) for mine in taken]


def sign_in(store: Store) -> float:
    """Issue and verify a code; return what it took, in microseconds."""
    id = uuid.uuid4().hex
    challenge = Challenge(id=id, identifier="ada@example.com", sent_at=NOW, expires_at=NOW + timedelta(minutes=10))
    begun = time.perf_counter()
    store.add_challenge(challenge, "d" * 64)
    attempt = store.try_code(id, ["d" * 64], now=NOW, max_attempts=5)
    taken = (time.perf_counter() - begun) * 1e6
    assert attempt.outcome is Outcome.ACCEPTED
    return taken


# Other people's rows


def fill(store: Store, size: int) -> None:
    """Add ``size`` challenges, sessions and, in a database, counts and leases; the back end makes them itself."""
    for first in range(0, size, _BATCH):
        count = min(_BATCH, size - first)
        if isinstance(store, SQLAlchemyStore):
            fill_database(store, first, count)
        elif isinstance(store, RedisStore):
            store.client.eval(FILL_REDIS, 1, store._prefix, first, count)
    if isinstance(store, SQLAlchemyStore):
        settle(store)


def fill_database(store: SQLAlchemyStore, first: int, count: int) -> None:
    numbers = sa.select(sa.literal(first).label("n")).cte(recursive=True)
    numbers = numbers.union_all(sa.select(numbers.c.n + 1).where(numbers.c.n < first + count - 1))
    name = sa.literal("filler-") + sa.cast(numbers.c.n, sa.String(20))
    milliseconds = int(NOW.timestamp() * 1000)
    text: dict[str, Any] = {"digest_1": "d" * 64, "snapshot": "{}" * 200, "state": "completed"}
    names = dict.fromkeys(("id", "key", "identifier", "user_id"), name)
    with store.database.engine.begin() as connection:
        for table in (store._challenges, store._sessions, store._counters, store._spent):
            columns = [each for each in table.columns if not each.nullable]
            parts = {each.name: text.get(each.name, milliseconds if "_" in each.name else 1) for each in columns}
            rows = sa.select(*(names.get(each.name, sa.literal(parts[each.name], each.type)) for each in columns))
            connection.execute(sa.insert(table).from_select(columns, rows))


def settle(store: SQLAlchemyStore) -> None:
    """Have the database do now what it would do in its own time."""
    with store.database.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        for table in store.database.metadata.sorted_tables:
            verb = "ANALYZE TABLE" if connection.dialect.name == "mysql" else "ANALYZE"
            connection.exec_driver_sql(f"{verb} {table.name}")


FILL_REDIS = """
    for number = ARGV[1], ARGV[1] + ARGV[2] - 1 do
        for _, kind in ipairs({'challenge', 'session'}) do
            local key = KEYS[1] .. kind .. ':filler-' .. number
            redis.call('HSET', key, 'state', 'completed', 'snapshot', string.rep('{}', 200))
            redis.call('PEXPIRE', key, 3600000 + number)
        end
    end
"""


# Engines


@contextmanager
def sqlite() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = SQLAlchemyStore(f"sqlite:///{folder}/store.db")
        store.setup()
        yield store
        store.close()


@contextmanager
def database(url: str) -> Iterator[sa.URL]:
    """Make a database on a server, and drop it at the end."""
    name = f"chatbotkit_auth_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield sa.make_url(url).set(database=name)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}")
        engine.dispose()


@contextmanager
def server(url: str) -> Iterator[Store]:
    with database(url) as own:
        store = SQLAlchemyStore(own)
        try:
            store.setup()
            yield store
        finally:
            store.close()


@contextmanager
def redis(url: str) -> Iterator[Store]:
    store = RedisStore(url, prefix=f"growth-{uuid.uuid4().hex[:12]}:")
    try:
        store.ping()
        yield store
    finally:
        keys: list[str] = []
        for key in store.client.scan_iter(f"{store._prefix}*", count=_BATCH):
            keys.append(key)
            if len(keys) == _BATCH:
                store.client.unlink(*keys)
                keys.clear()
        if keys:
            store.client.unlink(*keys)
        store.close()


POSTGRESQL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://root@127.0.0.1:5432/test")
ENGINES: dict[str, Callable[[], AbstractContextManager[Store]]] = {
    "SQLite": sqlite,
    "PostgreSQL": lambda: server(POSTGRESQL),
    "MariaDB": lambda: server(os.environ.get("TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test")),
    "Redis": lambda: redis(os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")),
}

if __name__ == "__main__":
    main()
