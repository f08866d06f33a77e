"""The data of the sandbox.

An operation takes the :class:`Records` and a call. It returns a reply, or raises a problem. It runs under
:attr:`Records.lock`, so a look-up and the write that depends on it are one step.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from . import meta
from .calls import PLAN_LIMIT, Call, Problem, Record, Reply

GHOST_MILLISECONDS = 60_000
"""How long requests can still act as a deleted sub-account. The platform caches it for up to two minutes."""


@dataclass(frozen=True)
class Token:
    """A secret that acts as a sub-account. It is either long-lived and listed, or the token of a session, which expires."""

    user_id: str
    record: Record
    expires_at: int | None
    routes: tuple[str, ...] | None
    """Globs of the paths that it opens; None for every path."""
    contact_id: str | None


class Records:
    """All data of the sandbox, and the settings of the deployment that it simulates."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.lock: threading.RLock = threading.RLock()
        self.users: dict[str, Record] = {}
        self.contacts: dict[str, Record] = {}
        self.conversations: dict[str, Record] = {}
        self.bots: dict[str, Record] = {}
        self.datasets: dict[str, Record] = {}
        self.messages: dict[str, list[Record]] = {}
        self.tokens: dict[str, Token] = {}
        # Separate from the records, which contain only what the API shows. A record without an owner belongs to the account
        # itself.
        self.owners: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        # Deleted sub-accounts with the time of the deletion, and what each sub-account has used of its limits.
        self.ghosts: dict[str, int] = {}
        self.used: dict[tuple[str, str], float] = {}
        self.byte_limits = True
        self.knows_update = True
        self.ensure_gap: float = 0.0
        self._clock = clock
        self._latest = 0

    def now(self) -> int:
        """Return the time in milliseconds since the epoch."""
        return int(self._clock() * 1000)

    def tick(self) -> int:
        """Return the time in milliseconds, but never the same millisecond twice."""
        # This way, records that are created in the same millisecond are listed in the order of their creation.
        self._latest = max(self.now(), self._latest + 1)
        return self._latest

    def stamp(self) -> Record:
        """Return the fields that every new record has."""
        created_at = self.tick()
        return {"id": new_id(), "createdAt": created_at, "updatedAt": created_at}

    def owned(self, table: dict[str, Record], account: str | None) -> Iterable[Record]:
        """Return the records of ``table`` that belong to an account."""
        return [record for key, record in table.items() if self.owners.get(key) == account]

    def one(self, table: dict[str, Record], key: str, account: str | None, what: str) -> Record:
        """Return one record of an account.

        :raises Problem: 404 if it does not exist, 403 if it belongs to another account.
        """
        if key not in table:
            raise Problem(404, f"{what} not found")
        if self.owners.get(key) != account:
            raise Problem(403, f"{what} is not yours")
        return table[key]

    def own(self, record: Record, account: str | None) -> None:
        """Set the account that a record belongs to."""
        if account is not None:
            self.owners[record["id"]] = account

    def let_others_in(self) -> None:
        """Let other requests run between a look-up and the write that depends on it, as on the platform."""
        self.lock.release()
        try:
            time.sleep(self.ensure_gap)
        finally:
            self.lock.acquire()

    def spend(self, account: str | None, what: str, amount: float = 1) -> None:
        """Count the use of a limit of a sub-account, such as ``"conversations"`` or ``"database.datasets"``.

        :raises Problem: 429: the limit is reached.
        """
        if account is None:
            return
        limit: Any = self.users.get(account, {}).get("limits")
        for name in what.split("."):
            limit = limit.get(name) if isinstance(limit, dict) else None
        used = self.used.get((account, what), 0)
        if isinstance(limit, (int, float)) and used >= limit:
            raise Problem(429, f"{PLAN_LIMIT}: {what}")
        self.used[account, what] = used + amount

    def give_back(self, account: str | None, what: str) -> None:
        """Undo one count of :meth:`spend`."""
        if account is not None:
            self.used[account, what] = max(0, self.used.get((account, what), 0) - 1)

    def clear(self) -> None:
        """Delete everything."""
        with self.lock:
            for table in (self.users, self.contacts, self.conversations, self.bots, self.datasets):
                table.clear()
            for other in (self.messages, self.tokens, self.owners, self.aliases, self.ghosts, self.used):
                other.clear()


def new_id() -> str:
    """Return an opaque id."""
    return "c" + secrets.token_hex(12)


def forget(records: Records, key: str) -> None:
    """Delete a record of any kind by its id."""
    for table in (records.contacts, records.conversations, records.bots, records.datasets):
        table.pop(key, None)
    records.messages.pop(key, None)
    records.owners.pop(key, None)


def page(items: Iterable[Record], call: Call, *, email_filter: bool = False, order: str = "desc") -> Reply:
    """Answer the page of ``items`` that the query asks for. ``order`` is the default order."""
    found, cursor = call.listing.select(items, email_filter=email_filter, order=order)
    found = [meta.shown(item) for item in found]
    return Reply(
        {"items": found, **({"cursor": cursor} if cursor else {})},
        [{"type": "item", "data": item} for item in found],
    )
