"""Where challenges and sessions are kept: the contract, and one back end a file."""

from __future__ import annotations

from .base import MAX_CODES, Attempt, Challenge, Outcome, SessionRecord, State, Store
from .memory import MemoryStore


def open_store(url: str) -> Store:
    """Return the store behind ``url``. Only its own back end's libraries are imported.

    :param url: ``memory://``, ``redis://…``, or the URL of a SQL database.
    :raises ConfigurationError: it is no such URL, or its driver is not installed.
    """
    scheme = url.partition(":")[0]
    if scheme == "memory":
        return MemoryStore()
    if scheme in ("redis", "rediss", "unix"):
        from .redis import RedisStore

        return RedisStore(url)
    from .sqlalchemy import SQLAlchemyStore

    return SQLAlchemyStore(url)


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
