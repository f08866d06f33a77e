"""A storage of the *limits* library on the store's own client of Redis: one server, Sentinel or a cluster alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from limits.storage import Storage

from ..clock import utcnow
from ..exceptions import StoreError


class RedisLimits(Storage):
    """Counts fixed windows through the store, under its prefix and with its errors.

    :param run: runs one of :data:`~flask_chatbotkit_auth.stores.lua.LIMIT_SCRIPTS`.
    :param ask: runs a command.
    """

    STORAGE_SCHEME: list[str] | None = None  # made by the store alone

    def __init__(self, run: Callable[..., Any], ask: Callable[..., Any], prefix: str) -> None:
        super().__init__(None)
        self._run, self._ask, self._prefix = run, ask, prefix

    @property
    def base_exceptions(self) -> type[Exception]:
        return StoreError

    def incr(self, key: str, expiry: int, amount: int = 1, **_unused: object) -> int:
        return int(self._run("count", [self._key(key)], amount, int(expiry * 1000)))

    def take_back(self, keys: Sequence[str]) -> None:
        """Count one less under each of these keys. No count goes below zero, or outlives its window."""
        self._run("take_back", [self._key(each) for each in keys])

    def get(self, key: str) -> int:
        return int(self._ask("get", self._key(key)) or 0)

    def get_expiry(self, key: str) -> float:
        return utcnow().timestamp() + max(int(self._ask("pttl", self._key(key))), 0) / 1000

    def check(self) -> bool:
        try:
            self._ask("get", self._key(""))
        except StoreError:
            return False
        return True

    def reset(self) -> int | None:
        keys = self._ask("keys", self._key("*"))
        for key in keys:
            self._ask("delete", key)
        return len(keys)

    def clear(self, key: str) -> None:
        self._ask("delete", self._key(key))

    def _key(self, key: str) -> str:
        return f"{self._prefix}limits/{key}"
