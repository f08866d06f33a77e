"""The stores of challenges and sessions: the contract, and one file for each back end."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .base import MAX_CODES, Attempt, Challenge, Outcome, SessionRecord, State, Store
from .memory import MemoryStore

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


def open_store(url: str | URL, *, pool: int = 5) -> Store:
    """Return the store for ``url``. Only the libraries of its back end are imported.

    :param url: ``memory://``, ``redis://…``, or the URL of a SQL database.
    :param pool: the most connections that the store opens to a SQL database.
    :raises ConfigurationError: the URL is invalid, or its driver is not installed.
    """
    scheme = url.partition(":")[0] if isinstance(url, str) else ""
    if scheme == "memory":
        return MemoryStore()
    if isinstance(url, str) and (scheme == "unix" or any(name in scheme for name in ("redis", "valkey", "sentinel"))):
        from .redis import RedisStore

        return RedisStore(url)
    from .sqlalchemy import SQLAlchemyStore

    return SQLAlchemyStore(url, pool=pool)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # So that ``stores.redis`` needs no import of its own, and a store that is not used loads no library.
        if name in ("redis", "sqlalchemy"):
            return import_module(f"{__name__}.{name}")
        raise AttributeError(name)


__all__ = [
    "MAX_CODES",
    "Attempt",
    "Challenge",
    "MemoryStore",
    "Outcome",
    "SessionRecord",
    "State",
    "Store",
    "open_store",
]
