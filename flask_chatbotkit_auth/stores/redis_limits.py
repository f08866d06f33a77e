"""The storage of the *limits* library that uses the store's client of Redis: a server, Sentinel or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from limits.storage import Storage

from ..clock import utcnow
from ..exceptions import StoreError


class RedisLimits(Storage):
    """Counts fixed windows with the client, the prefix and the errors of the store.

    :param run: runs one of :data:`~flask_chatbotkit_auth.stores.lua.LIMIT_SCRIPTS`.
    :param ask: runs a command.
    """

    STORAGE_SCHEME: list[str] | None = None  # only the store creates it

    def __init__(self, run: Callable[..., Any], ask: Callable[..., Any], prefix: str) -> None:
        super().__init__(None)
        self._run, self._ask, self._prefix = run, ask, prefix

    @property
    def base_exceptions(self) -> type[Exception]:
        return StoreError

    def incr(self, key: str, expiry: int, amount: int = 1, **_unused: object) -> int:
        return int(self._run("count", [self._key(key)], amount, int(expiry * 1000)))

    def take_back(self, keys: Sequence[str]) -> None:
        """Subtract one from the count of each key, but never below zero or after the window."""
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
