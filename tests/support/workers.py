"""Processes that do the same thing at the same time, and the store that they do it to."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa

from flask_chatbotkit_auth.stores import Store, open_store
from flask_chatbotkit_auth.stores.redis import RedisStore
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
from flask_chatbotkit_auth.testing.contract.interleave import at_once as at_once

Result = TypeVar("Result")
Job = Callable[..., list[Any]]
"""``job(start, url, prefix, number, *arguments)``; it calls ``start()`` when it is ready to do what is raced."""

PATIENCE = 60
"""Seconds after which a worker that has not answered has hung."""


@contextmanager
def opened(url: str, prefix: str) -> Iterator[Store]:
    """Open the store of ``url``, with tables made; close it afterwards."""
    store = RedisStore(url, prefix=prefix) if url.startswith("redis") else open_store(url)
    try:
        store.setup()
        yield store
    finally:
        store.close()


def run_sql(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()


def forget_everything(store: Store) -> None:
    """Empty a store without looking at what is in it."""
    if isinstance(store, SQLAlchemyStore):
        with store.database.engine.begin() as connection:
            for table in store.database.metadata.tables.values():
                connection.execute(sa.delete(table))
    elif isinstance(store, RedisStore):
        for key in store.client.scan_iter(f"{store._prefix}*", count=1000):
            store.client.delete(key)


class Workers:
    """So many processes, started once; each :meth:`run` has all of them do one job at a barrier."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        # Kept here: the children find it by a name that goes with it.
        self._barrier = context.Barrier(self._count, timeout=PATIENCE)
        self._members = []
        for number in range(self._count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._barrier, number), daemon=True)
            process.start()
            theirs.close()
            self._members.append((process, ours))
        # On a busy machine it takes half a minute until all have imported everything. That is no part of a job.
        for _, pipe in self._members:
            pipe.recv()

    def run(self, job: Job, url: str, prefix: str = "", *arguments: Any) -> list[Any]:
        """Return what ``job`` returned in each process, as one list."""
        self._barrier.reset()
        for _, pipe in self._members:
            pipe.send((job, url, prefix, arguments))
        results = []
        for _, pipe in self._members:
            if not pipe.poll(PATIENCE):
                # Its answer would otherwise be taken for that to a later job.
                self.close()
                self._start()
                raise AssertionError("a worker hangs")
            results.append(pipe.recv())
        for succeeded, result in results:
            assert succeeded, result
        return [each for _, result in results for each in result]

    def close(self) -> None:
        for process, pipe in self._members:
            process.terminate()
            pipe.close()
        for process, _ in self._members:
            process.join()
            process.close()


def _serve(pipe: Any, barrier: Any, number: int) -> None:
    pipe.send("ready")
    while True:
        job, url, prefix, arguments = pipe.recv()
        try:
            pipe.send((True, job(barrier.wait, url, prefix, number, *arguments)))
        except Exception:  # noqa: BLE001  # the test shows whatever it was
            barrier.abort()
            pipe.send((False, traceback.format_exc()))
