"""Has psycopg give up on a server that has stopped answering, though its machine still does.

The network cannot tell such a server from a slow one: its kernel, or a pooler in front of it, confirms every byte.
"""

from __future__ import annotations

import time
import weakref
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

Result = TypeVar("Result")


class _Silence(psycopg.OperationalError):
    """The server has not answered in time. The connection is closed."""


class BoundedWait:
    """The ``wait`` of a connection, with a time limit for each answer.

    :param seconds: the time limit; ``None`` waits for ever.
    """

    def __init__(self, connection: psycopg.Connection[Any], seconds: float | None) -> None:
        self.seconds = seconds
        # A cycle would keep the connection open until the garbage collector runs.
        self._connection = weakref.ref(connection)

    def __call__(self, gen: PQGen[Result], *arguments: Any, **options: Any) -> Result:
        connection = self._connection()
        assert connection is not None  # noqa: S101  # it calls this
        if self.seconds is not None:
            gen = _bounded(gen, connection, self.seconds)
        return type(connection).wait(connection, gen, *arguments, **options)


def _bounded(gen: PQGen[Result], connection: psycopg.Connection[Any], seconds: float) -> PQGen[Result]:
    end = time.monotonic() + seconds
    try:
        state = next(gen)
        while True:
            # While nothing arrives, psycopg sends "not ready" ten times a second, to hear Ctrl-C; in C only from 3.2.11 on.
            ready = yield state
            if ready:
                state = gen.send(ready)
            elif time.monotonic() >= end:
                connection.close()
                raise _Silence("no answer")
    except StopIteration as done:
        result: Result = done.value
        return result
