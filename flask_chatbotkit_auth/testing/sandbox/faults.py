"""Faults on demand: which requests fail, and how."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass
class Fault:
    """One fault; see :meth:`.Sandbox.fail`."""

    path_glob: str
    status: int | None = None
    times: int | None = None
    delay: float = 0
    body: str | bytes | None = None
    drop: bool | int = False
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str | None = None
    message: str | None = None
    in_stream: bool = False

    def __post_init__(self) -> None:
        if self.status is None and self.body is None and self.drop is False and not self.delay:
            raise ValueError("say what goes wrong: give a status, body, delay or drop")
        if self.status is None and (self.code is not None or self.message is not None or self.in_stream):
            raise ValueError("a code, a message and in_stream belong to an error: give its status too")

    @property
    def answers(self) -> bool:
        """Whether the fault replaces the answer of the API."""
        return self.status is not None or self.body is not None or self.drop is True

    @property
    def cut(self) -> int | None:
        """How many bytes of the answer are sent; None for all."""
        return None if isinstance(self.drop, bool) else self.drop


class Faults:
    """The faults that apply, in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str) -> tuple[float, Fault | None]:
        """Return the seconds to wait before a request is answered, and the fault that applies to it.

        Each fault that is used counts once. Delays add up. Apart from delays, the first fault that matches applies.
        """
        delay = 0.0
        with self._lock:
            for fault in list(self._faults):
                if not fnmatchcase(path, fault.path_glob) or fault.method not in (None, method):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                delay += fault.delay
                if fault.answers or fault.cut is not None:
                    return delay, fault
        return delay, None
