"""A dictionary with a limited size, for what a worker keeps in memory about people and failures."""

from __future__ import annotations

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Newest(dict[Key, Value]):
    """A dictionary that keeps the entries that were set last. Its lock, if it needs one, is the caller's.

    :param most: how many entries it keeps.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: Key, value: Value) -> None:
        self.pop(key, None)  # so that the entry moves to the end
        while len(self) >= self._most:
            del self[next(iter(self))]
        super().__setitem__(key, value)
