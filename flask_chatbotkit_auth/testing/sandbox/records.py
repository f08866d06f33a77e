"""What the stand-in knows, and what its operations are given and give back.

An operation takes the :class:`Records` and a :class:`Call`, answers a :class:`Reply` or raises a :class:`Problem`. It
runs under :attr:`Records.lock`, so a look-up and the write that depends on it are one step.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from .paging import Listing

Record = dict[str, Any]

CODES = {
    401: "NOT_AUTHENTICATED",
    402: "NO_SUBSCRIPTION",
    403: "NOT_AUTHORIZED",
    408: "TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
    422: "UNPROCESSABLE_ENTITY",
}
"""The codes that differ from the names in :class:`http.HTTPStatus`, some of which change with Python's version."""


def error_document(status: int, message: str | None = None, code: str | None = None) -> Record:
    """Return the API's ``{"message", "code"}`` for an HTTP status."""
    name = HTTPStatus(status).name if status in HTTPStatus.__members__.values() else "ERROR"
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

    document: Record
    events: list[Record] | None = None
    paced: bool = False
    """Whether the events arrive one after another, as they come into being."""


@dataclass(frozen=True)
class Token:
    """A secret that acts as a sub-account: long-lived and listed, or of a session, which ends."""

    user_id: str
    record: Record
    expires_at: int | None
    routes: tuple[str, ...]
    """Globs of the only paths it opens; none for every path."""
    contact_id: str | None


class Records:
    """All that the stand-in knows."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.lock: threading.RLock = threading.RLock()
        self.users: dict[str, Record] = {}
        self.contacts: dict[str, Record] = {}
        self.conversations: dict[str, Record] = {}
        self.messages: dict[str, list[Record]] = {}
        self.tokens: dict[str, Token] = {}
        # Apart from the records, which hold nothing but what the API shows. What is missing here is the account's own.
        self.owners: dict[str, str] = {}
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
        """Return one record of an account; those of other accounts are as good as absent."""
        if key not in table or self.owners.get(key) != account:
            raise Problem(404, f"{what} not found")
        return table[key]

    def own(self, record: Record, account: str | None) -> None:
        """Note whose the record is."""
        if account is not None:
            self.owners[record["id"]] = account

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            for table in (self.users, self.contacts, self.conversations, self.messages, self.tokens, self.owners):
                table.clear()


def new_id() -> str:
    """Return an opaque id."""
    return "c" + secrets.token_hex(12)


def forget(records: Records, key: str) -> None:
    """Delete a contact or conversation, whichever has the id."""
    records.contacts.pop(key, None)
    records.conversations.pop(key, None)
    records.messages.pop(key, None)
    records.owners.pop(key, None)


def page(items: Iterable[Record], call: Call, *, email_filter: bool = False) -> Reply:
    """Answer the part of ``items`` that the query asks for."""
    try:
        shown, cursor = call.listing.select(items, email_filter=email_filter)
    except ValueError as error:
        raise Problem(400, str(error)) from error
    return Reply({"items": shown, "cursor": cursor}, [{"type": "item", "data": item} for item in shown])


def checked(
    body: Record,
    *,
    texts: tuple[str, ...] = (),
    objects: tuple[str, ...] = (),
    numbers: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
) -> Record:
    """Return the named fields of ``body``, without those that the API does not know, or refuse wrong types."""
    kinds = [(texts, (str,)), (objects, (dict,)), (numbers, (int, float)), (flags, (bool,))]
    found: Record = {}
    for names, accepted in kinds:
        for name in names:
            # By the exact type, as JSON has it: Python's True is an int too.
            if body.get(name) is not None and type(body[name]) not in accepted:
                raise Problem(400, f"{name} has the wrong type")
            if name in body:
                found[name] = body[name]
    return found


def apply(record: Record, changes: Record) -> None:
    """Write fields into a record: None removes one, and ``meta`` is merged key by key."""
    for name, value in changes.items():
        if value is None:
            # An absent field is left out of answers: the document allows no null.
            record.pop(name, None)
        elif name == "meta":
            record["meta"] = {**(record.get("meta") or {}), **value}
        else:
            record[name] = value
