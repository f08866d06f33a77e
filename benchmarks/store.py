"""The store: issue and verify a code, against the bare driver running the fewest statements that can do the same."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import sqlalchemy as sa

from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.stores import Store
from flask_chatbotkit_auth.stores.redis import RedisStore
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore

from . import growth
from .report import in_turns, ratios, show, skipped, spread, times

STEPS = 100
ROUNDS = 11

INSERT = (
    "INSERT INTO chatbotkit_auth_challenges (id, identifier, state, attempts, sends, sent_at, expires_at, digest_1, "
    "digest_1_expires_at) VALUES (?, 'ada@example.com', 'open', 0, 1, ?, ?, ?, ?)"
)
UPDATE = (
    "UPDATE chatbotkit_auth_challenges SET attempts = attempts + CASE WHEN digest_1 = ? THEN 0 ELSE 1 END, "
    "state = CASE WHEN digest_1 = ? THEN 'verified' ELSE 'open' END "
    "WHERE id = ? AND state = 'open' AND attempts < 5 AND expires_at > ?"
)
NOW = int(growth.NOW.timestamp() * 1000)
UNTIL = NOW + 600_000
DIGEST = "d" * 64

REDIS_VERIFY = """
    if redis.call('HGET', KEYS[1], 'state') ~= 'open' then return 0 end
    redis.call('HSET', KEYS[1], 'state', 'verified')
    return 1
"""


def run() -> None:
    """Print the table."""
    rows = []
    for name, opened in growth.ENGINES.items():
        try:
            with opened() as store, _bare(store) as bare:
                contenders = {
                    "store": partial(_microseconds, partial(growth.sign_in, store)),
                    "driver": partial(_microseconds, bare),
                }
                samples = in_turns(contenders, ROUNDS)
        except (StoreError, ImportError, sa.exc.SQLAlchemyError) as error:
            skipped(
                f"the store on {name} ({type(error).__name__})", f"start {name}, or see TEST_… in benchmarks/growth.py"
            )
            continue
        figures = [spread(samples[each], "{:.0f} µs".format) for each in ("store", "driver")]
        rows.append([name, *figures, spread(ratios(samples, "store", "driver"), times), "≤ 2×"])
    show(
        "The store: issue and verify a code, waited for",
        ["", "store", "bare driver, two statements", "of the driver's", "aim"],
        rows,
    )


def _microseconds(step: Callable[[], object]) -> float:
    begun = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - begun) / STEPS * 1e6


@contextmanager
def _bare(store: Store) -> Iterator[Callable[[], None]]:
    """Yield the same two steps on a connection of the driver alone, on the same server and tables."""
    if isinstance(store, RedisStore):
        yield partial(_redis, store)
        return
    assert isinstance(store, SQLAlchemyStore)
    engine = store.database.engine
    with engine.connect() as pooled:
        pooled.commit()
        connection: Any = pooled.connection.driver_connection
        if isinstance(connection, sqlite3.Connection):
            yield partial(_sql, connection.cursor(), "?")
        else:
            if engine.dialect.name == "mysql":
                connection.autocommit(True)
            yield partial(_sql, connection.cursor(), "%s")
            if engine.dialect.name == "mysql":
                connection.autocommit(False)


def _sql(cursor: Any, mark: str) -> None:
    id = uuid.uuid4().hex
    cursor.execute(INSERT.replace("?", mark), (id, NOW, UNTIL, DIGEST, UNTIL))
    cursor.execute(UPDATE.replace("?", mark), (DIGEST, DIGEST, id, NOW))
    assert cursor.rowcount == 1


def _redis(store: RedisStore) -> None:
    key = f"{store._prefix}bare:{uuid.uuid4().hex}"
    with store.client.pipeline() as pipeline:
        pipeline.hset(key, mapping={"identifier": "ada@example.com", "state": "open", "digest": DIGEST})
        pipeline.pexpire(key, 600_000)
        pipeline.execute()
    assert store.client.eval(REDIS_VERIFY, 1, key) == 1
