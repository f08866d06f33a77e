"""What the stand-in knows, and what its operations are given and give back.

An operation takes the :class:`Records` and a :class:`Call`, answers a :class:`Reply` or raises a :class:`Problem`. It
runs under :attr:`Records.lock`, so a look-up and the write that depends on it are one step.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from . import meta
from .paging import Listing

Record = dict[str, Any]

MAX_BYTES = 191
"""Bytes of UTF-8 that the hosted service keeps of a name, an e-mail address, a nick, a fingerprint or a picture."""

GHOST_MILLISECONDS = 60_000
"""How long a deleted sub-account can still be acted for; up to two minutes on the platform, which caches it."""

CODES = {
    401: "NOT_AUTHENTICATED",
    402: "NO_SUBSCRIPTION",
    403: "NOT_AUTHORIZED",
    408: "TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
    422: "UNPROCESSABLE_ENTITY",
    429: "LIMITS_REACHED",
    500: "GENERIC_ERROR",
}
"""The codes that differ from the names in :class:`http.HTTPStatus`, some of which change with Python's version."""

RATE_LIMIT = "You have exceeded your allocated rate limits: rate/poll"
"""What a 429 says unless told otherwise: wait a minute."""

PLAN_LIMIT = "You have reached the limits of your plan"
"""What a 429 with the code LIMITS_REACHED, asked for by name, says: waiting does not help."""


def error_document(status: int, message: str | None = None, code: str | None = None) -> Record:
    """Return the API's ``{"message", "code"}`` for an HTTP status."""
    name = HTTPStatus(status).name if status in HTTPStatus.__members__.values() else "ERROR"
    if message is None and status == 429:
        message = PLAN_LIMIT if code == "LIMITS_REACHED" else RATE_LIMIT
    code = code or CODES.get(status, name)
    return {"message": message or code.replace("_", " ").capitalize(), "code": code}


class Problem(Exception):
    """The API refuses: an HTTP status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Call:
    """Who asks for what."""

    account: str | None
    """Id of the sub-account that acts; None is the account that the secret belongs to."""
    contact_id: str | None
    """The contact that a session token is bound to."""
    body: Record
    listing: Listing


@dataclass(frozen=True)
class Reply:
    """A success, as one JSON document and, where the API offers that, as JSONL."""

    document: Any
    events: list[Record] | None = None
    paced: bool = False
    """Whether the events arrive one after another, as they come into being."""
    status: int = 200


@dataclass(frozen=True)
class Token:
    """A secret that acts as a sub-account: long-lived and listed, or of a session, which ends."""

    user_id: str
    record: Record
    expires_at: int | None
    routes: tuple[str, ...] | None
    """Globs of the only paths it opens; None for every path."""
    contact_id: str | None


class Records:
    """All that the stand-in knows, and how the deployment that it stands for behaves."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.lock: threading.RLock = threading.RLock()
        self.users: dict[str, Record] = {}
        self.contacts: dict[str, Record] = {}
        self.conversations: dict[str, Record] = {}
        self.bots: dict[str, Record] = {}
        self.datasets: dict[str, Record] = {}
        self.messages: dict[str, list[Record]] = {}
        self.tokens: dict[str, Token] = {}
        # Apart from the records, which hold nothing but what the API shows. What is missing here is the account's own.
        self.owners: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        # Deleted sub-accounts and when they went, and what each sub-account has used of its limits.
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
        """Return the time as :meth:`now` does, but never the same millisecond twice."""
        # So records made in a burst are listed in the order they were made in.
        self._latest = max(self.now(), self._latest + 1)
        return self._latest

    def stamp(self) -> Record:
        """Return the fields every record begins with."""
        created_at = self.tick()
        return {"id": new_id(), "createdAt": created_at, "updatedAt": created_at}

    def owned(self, table: dict[str, Record], account: str | None) -> Iterable[Record]:
        """Return the records of ``table`` that belong to an account."""
        return [record for key, record in table.items() if self.owners.get(key) == account]

    def one(self, table: dict[str, Record], key: str, account: str | None, what: str) -> Record:
        """Return one record of an account.

        :raises Problem: 404 where there is none, 403 where it is another account's.
        """
        if key not in table:
            raise Problem(404, f"{what} not found")
        if self.owners.get(key) != account:
            raise Problem(403, f"{what} is not yours")
        return table[key]

    def own(self, record: Record, account: str | None) -> None:
        """Note whose the record is."""
        if account is not None:
            self.owners[record["id"]] = account

    def let_others_in(self) -> None:
        """Give way to other requests between a look-up and the write that depends on it, as the platform does."""
        self.lock.release()
        try:
            time.sleep(self.ensure_gap)
        finally:
            self.lock.acquire()

    def spend(self, account: str | None, what: str, amount: float = 1) -> None:
        """Count what a sub-account uses of a limit, such as ``"conversations"`` or ``"database.datasets"``.

        :raises Problem: it has used all of it.
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
        """Take back one of what :meth:`spend` counted."""
        if account is not None:
            self.used[account, what] = max(0, self.used.get((account, what), 0) - 1)

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            for table in (self.users, self.contacts, self.conversations, self.bots, self.datasets):
                table.clear()
            for other in (self.messages, self.tokens, self.owners, self.aliases, self.ghosts, self.used):
                other.clear()


def new_id() -> str:
    """Return an opaque id."""
    return "c" + secrets.token_hex(12)


def forget(records: Records, key: str) -> None:
    """Delete a record of an account, whatever it is, by its id."""
    for table in (records.contacts, records.conversations, records.bots, records.datasets):
        table.pop(key, None)
    records.messages.pop(key, None)
    records.owners.pop(key, None)


def page(items: Iterable[Record], call: Call, *, email_filter: bool = False, order: str = "desc") -> Reply:
    """Answer the part of ``items`` that the query asks for, in ``order`` where it names none."""
    try:
        found, cursor = call.listing.select(items, email_filter=email_filter, order=order)
    except ValueError as error:
        raise Problem(400, str(error)) from error
    found = [meta.shown(item) for item in found]
    return Reply(
        {"items": found, **({"cursor": cursor} if cursor else {})},
        [{"type": "item", "data": item} for item in found],
    )


def checked(
    body: Record,
    *,
    texts: tuple[str, ...] = (),
    objects: tuple[str, ...] = (),
    numbers: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
    others: tuple[str, ...] = (),
) -> Record:
    """Return the fields of ``body``, or refuse wrong types and whatever is not named here.

    :param others: fields that the caller checks itself and that are not returned.
    """
    kinds = [(texts, (str,)), (objects, (dict,)), (numbers, (int, float)), (flags, (bool,))]
    found: Record = {}
    for names, accepted in kinds:
        for name in names:
            # By the exact type, as JSON has it: Python's True is an int too.
            if body.get(name) is not None and type(body[name]) not in accepted:
                raise Problem(400, f'"{name}" has the wrong type')
            if name in body:
                found[name] = body[name]
    for name in body:
        if name not in found and name not in others:
            raise Problem(400, f'"{name}" is not allowed')
    return found


def fit(records: Records, changes: Record, names: tuple[str, ...]) -> None:
    """Refuse texts that the hosted service has no room for.

    :raises Problem: 400.
    """
    for name in names:
        if too_long(records, changes.get(name)):
            raise Problem(400, f'"{name}" length must be less than or equal to {MAX_BYTES} bytes long')


def too_long(records: Records, text: object) -> bool:
    """Return whether a column of the hosted service has no room for a text."""
    return records.byte_limits and isinstance(text, str) and len(text.encode()) > MAX_BYTES


def apply(records: Records, record: Record, changes: Record) -> None:
    """Write fields into a record: None removes one. ``meta`` is replaced, or merged where it is ``{"$update": …}``."""
    if isinstance(changes.get("meta"), dict):
        try:
            merged = meta.written(record.get("meta"), changes["meta"], knows_update=records.knows_update)
        except meta.ReservedKey as error:
            raise Problem(400, str(error)) from error
        changes = {**changes, "meta": merged}
    for name, value in changes.items():
        if value is None:
            # An absent field is left out of answers: the document allows no null.
            record.pop(name, None)
        else:
            record[name] = value
