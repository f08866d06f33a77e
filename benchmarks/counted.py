"""gunicorn's ``sync`` worker under callgrind: instructions are counted while it handles a request, and not while it waits.

Requests are counted while the file ``counting`` is in the benchmark's folder.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import sys
from collections.abc import Callable
from typing import Any

from gunicorn.workers.sync import SyncWorker

from .apps.instruments import FOLDER
from .causes import CAUSES, OTHER, SERVER

_switches = ctypes.PyDLL(str(FOLDER / "switches.so"))
_causes: list[str] = []
"""What the work at this moment is for, the innermost last."""


class Worker(SyncWorker):  # type: ignore[misc]  # gunicorn has no type information
    """Handles requests as its base does, and has them counted."""

    def load_wsgi(self) -> None:
        super().load_wsgi()
        if "BENCHMARK_CAUSES" in os.environ:
            self.wsgi: Any = _counted_as(OTHER, self.wsgi)
            _tell_causes_apart()

    def handle(self, *arguments: Any) -> None:
        if not (FOLDER / "counting").exists():
            super().handle(*arguments)
            return
        _begin()
        _causes.append(SERVER)
        _switches.toggle()
        try:
            super().handle(*arguments)
        finally:
            _switches.toggle()
            _note()
            _causes.pop()


@functools.cache
def _begin() -> None:
    # Objects that are there since the start are left out of garbage collection: it would fall on one request in hundreds.
    gc.collect()
    gc.freeze()
    _switches.instrument()


def _note() -> None:
    """Write down what was counted since the last time."""
    _switches.note("|".join(_causes).encode())


def _tell_causes_apart() -> None:
    for cause, names in CAUSES.items():
        for name in names:
            module, _, path = name.partition(":")
            if module in sys.modules:
                *parents, last = path.split(".")
                owner = functools.reduce(getattr, parents, sys.modules[module])
                if hasattr(owner, last):
                    setattr(owner, last, _counted_as(cause, getattr(owner, last)))


def _counted_as(cause: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        if not _causes or cause in _causes:
            return function(*arguments, **named)
        _note()
        _causes.append(cause)
        try:
            return function(*arguments, **named)
        finally:
            _note()
            _causes.pop()

    return wrapper
