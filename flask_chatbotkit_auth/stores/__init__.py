"""Where challenges and sessions are kept: the contract, and one back end a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import MAX_CODES, Attempt, Challenge, Outcome, SessionRecord, State, Store
from .memory import MemoryStore

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


def open_store(url: str | URL, *, pool: int = 5) -> Store:
    """Return the store behind ``url``. Only its own back end's libraries are imported.

    :param url: ``memory://``, ``redis://…``, or the URL of a SQL database.
    :param pool: how many connections to a SQL database the store may hold at once.
    :raises ConfigurationError: it is no such URL, or its driver is not installed.
    """
    scheme = url.partition(":")[0] if isinstance(url, str) else ""
    if scheme == "memory":
        return MemoryStore()
    if isinstance(url, str) and scheme in ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster"):
        from .redis import RedisStore

        return RedisStore(url)
    from .sqlalchemy import SQLAlchemyStore

    return SQLAlchemyStore(url, pool=pool)


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
