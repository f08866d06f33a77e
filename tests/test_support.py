"""What several tests share: a job that hangs fails its own test, and no later one."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.support.workers import Workers


def hang(_start: Callable[[], object], _url: str, _prefix: str, _number: int) -> list[int]:
    threading.Event().wait()
    return []


def answer(_start: Callable[[], object], _url: str, _prefix: str, number: int) -> list[int]:
    return [number]


def test_workers_that_hang_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(2)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("tests.support.workers.PATIENCE", 0)
            with pytest.raises(AssertionError, match="hangs"):
                workers.run(hang, "")
        assert workers.run(answer, "") == [0, 1]
    finally:
        workers.close()
