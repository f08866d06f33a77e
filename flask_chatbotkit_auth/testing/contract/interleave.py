"""Runs one step of a store, and something else at a chosen line of it, so that a race happens every time."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Generic, TypeVar

from ...stores import Store

Result = TypeVar("Result")

BLOCKED = 0.2
"""Seconds after which the other call counts as waiting for the step, which then goes on."""

_MOST = 200
"""The most lines that a step can have. Every store that we know has fewer."""


class Background(Generic[Result]):
    """A call in its own thread, and what it returned or raised."""

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call = call
        self._results: list[Result] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:  # noqa: BLE001  # raised again where it is asked for
            self._errors.append(error)

    def wait(self, seconds: float | None = None) -> bool:
        """Return whether the call has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> Result:
        """Return what the call returned, or raise what it raised."""
        self._thread.join()
        if self._errors:
            raise self._errors[0]
        return self._results[0]


def with_interruption(
    store: Store, step: Callable[[], Result], at: int, other: Callable[[], Any]
) -> tuple[Result, Background[Any] | None]:
    """Return what ``step()`` returns. Another thread calls ``other()`` before line number ``at`` of the step.

    Lines are counted when they are first reached, in the files of the store's class and of its bases. If the step holds a
    lock or a row that the other thread needs, that thread waits until the step has ended.

    :returns: also the other call, or ``None`` if the step has fewer lines.
    """
    files = {
        inspect.getfile(each) for each in type(store).__mro__ if each.__module__ not in ("builtins", "abc", "typing")
    }
    passed: set[tuple[str, int]] = set()
    others: list[Background[Any]] = []

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        place = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and place not in passed:
            passed.add(place)
            if len(passed) == at:
                background = Background(other)
                others.append(background)
                background.wait(BLOCKED)
        return trace

    def traced() -> Result:
        sys.settrace(trace)
        try:
            return step()
        finally:
            sys.settrace(None)

    result = Background(traced).result()
    for each in others:
        each.wait()
    return result, others[0] if others else None


def at_every_line(
    store: Store, prepare: Callable[[int], tuple[Callable[[], Result], Callable[[], Any]]]
) -> list[tuple[Result, Any]]:
    """Return the results of a step and of another call, once for each line of the step.

    :param prepare: makes both again; it receives the number of the line.
    """
    pairs = []
    for at in range(1, _MOST):
        step, other = prepare(at)
        result, background = with_interruption(store, step, at, other)
        if background is None:
            break
        pairs.append((result, background.result()))
    return pairs


def at_once(threads: int, call: Callable[[int], Result]) -> list[Result]:
    """Return what ``call(0)``, ``call(1)`` … return. Each runs in its own thread, and all start at a barrier."""
    barrier = threading.Barrier(threads)

    def run(number: int) -> Result:
        barrier.wait()
        return call(number)

    calls = [Background(lambda number=number: run(number)) for number in range(threads)]  # type: ignore[misc]
    return [each.result() for each in calls]
