"""What a store remembers: challenges and sessions, and each of them as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any, Literal

from ..clock import from_milliseconds, to_milliseconds
from ..user import User

MAX_CODES = 2
"""How many codes of one challenge work at the same time: the newest two, since mail arrives late."""

CLAIM_LASTS = timedelta(minutes=1)
"""How long a claim keeps others off, should the one who made it never come back: longer than what it is for takes."""

Purpose = Literal["sign_in", "deletion", "address"]
"""What a challenge proves the address for."""

Client = Literal["browser", "app"]
"""Who holds the token of a session."""


class State(StrEnum):
    """The life of a challenge. It moves forward only, but for a claim that is given back."""

    OPEN = "open"
    VERIFIED = "verified"
    CLAIMED = "claimed"
    """Verified, and one request is at work on what the code was for. See :meth:`Store.claim`. Kept as ``verified``, with
    the end of the claim beside it, so that 0.1, which knows no such state, can read it."""
    COMPLETED = "completed"


@dataclass(frozen=True)
class Challenge:
    """One attempt of one browser to prove one address. Times are aware UTC."""

    id: str = field(repr=False)
    """128 random bits as text; the browser's signed cookie holds it, no URL ever does."""

    identifier: str = field(repr=False)
    sent_at: datetime
    """When the newest code was made."""

    expires_at: datetime
    """When the newest code stops working, and with it the challenge."""

    state: State = State.OPEN
    attempts: int = 0
    """Wrong codes so far."""

    sends: int = 1
    """Codes made so far."""

    purpose: Purpose = "sign_in"

    user_id: str | None = None
    """Whose account it is about, where that is known before the code is typed: for deletion and a new address."""

    tries: int = 0
    """How often completing was begun. See :meth:`Store.count_try`."""

    claimed_until: datetime | None = None
    """When a claim is over, whether or not the one who made it came back; only in the state ``CLAIMED``."""

    def is_verified(self, now: datetime) -> bool:
        """Return whether it is verified, and nobody is at work on it."""
        if self.state is State.CLAIMED:
            return self.claimed_until is not None and self.claimed_until <= now
        return self.state is State.VERIFIED

    def to_json(self) -> dict[str, Any]:
        """Return every field, times in milliseconds since the epoch, 0 for no claim."""
        return {
            **vars(self),
            "state": State.VERIFIED if self.state is State.CLAIMED else self.state,
            "sent_at": to_milliseconds(self.sent_at),
            "expires_at": to_milliseconds(self.expires_at),
            "claimed_until": to_milliseconds(self.claimed_until) if self.claimed_until else 0,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Challenge:
        """Return the challenge that :meth:`to_json` wrote. A row of 0.1 lacks the newer fields; others are left out.

        Numbers may be text, and what is absent may be ``None`` or empty, as stores keep them.
        """
        state = State(record["state"])
        claimed_until = int(record.get("claimed_until") or 0) if state is State.VERIFIED else 0
        return cls(
            id=record["id"],
            identifier=record["identifier"],
            sent_at=from_milliseconds(int(record["sent_at"])),
            expires_at=from_milliseconds(int(record["expires_at"])),
            state=State.CLAIMED if claimed_until else state,
            attempts=int(record["attempts"]),
            sends=int(record["sends"]),
            purpose=record.get("purpose") or "sign_in",
            user_id=record.get("user_id") or None,
            tries=int(record.get("tries") or 0),
            claimed_until=from_milliseconds(claimed_until) if claimed_until else None,
        )


class Outcome(Enum):
    """What became of a code that was tried."""

    ACCEPTED = "accepted"
    """The code was right, and this call is the one that used it."""

    WRONG = "wrong"
    """The code was wrong, and has been counted."""

    EXHAUSTED = "exhausted"
    """Not compared: too many wrong codes before."""

    EXPIRED = "expired"
    """Not compared: the challenge is past its lifetime."""

    SPENT = "spent"
    """Too late: another call has used the challenge. See :attr:`Attempt.again`."""

    MISSING = "missing"
    """Not compared: there is no such challenge."""


@dataclass(frozen=True)
class Attempt:
    """The answer of :meth:`Store.try_code` and :meth:`Store.accept_challenge`."""

    outcome: Outcome
    attempts: int = 0
    """Wrong codes so far, this one included."""

    again: bool = False
    """Only where the challenge is verified, and waits to be completed: whether this code, too, is one of its own and in
    time. Who typed it has proved the address as well, and may have missed the answer to the first try."""


@dataclass(frozen=True)
class SessionRecord:
    """One signed-in browser or app. Times are aware UTC."""

    id: str = field(repr=False)
    """SHA-256 of the session's token, in hexadecimal: who reads the store cannot become the person."""

    user: User
    """The snapshot of the account."""

    created_at: datetime
    seen_at: datetime
    """Last use, as it was last written."""

    refreshed_at: datetime
    """When the snapshot was last read from the API."""

    ends_at: datetime
    """The end of the session, however much it is used (ASVS 5.0, 7.3.2)."""

    expires_at: datetime
    """The end of the session if it is not used again (ASVS 5.0, 7.3.1); never after :attr:`ends_at`."""

    ip: str | None = field(default=None, repr=False)
    user_agent: str | None = None

    identifier: str | None = field(default=None, repr=False)
    """The address that was proved. ``None`` in a row of 0.1, and where the application opened the session itself."""

    audience: str | None = None
    """Which application the session is for. ``None`` in a row of 0.1, which is accepted and then stamped."""

    adapter: str | None = None
    """``"partner"`` or ``"contact"``. ``None`` in a row of 0.1."""

    client: Client = "browser"

    name: str | None = None
    """What an app called itself."""

    method: str | None = None
    """How the person signed in: ``"code"``, ``"link"``, ``"passkey"`` or ``"application"``."""

    proved_at: datetime | None = None
    """When the person last proved to be the owner; ``None`` where nothing was proved."""

    def to_json(self) -> dict[str, Any]:
        """Return every field, times in milliseconds since the epoch, the user as :attr:`snapshot`, with ``user_id``."""
        record = {key: value for key, value in vars(self).items() if key != "user"}
        for key in _SESSION_TIMES:
            record[key] = record[key] and to_milliseconds(record[key])
        return {**record, "user_id": self.user.id, "snapshot": self.snapshot}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> SessionRecord:
        """Return the session that :meth:`to_json` wrote, as :meth:`Challenge.from_json` does."""
        given: dict[str, Any] = {key: record.get(key) or None for key in _SESSION_TEXTS}
        for key in _SESSION_TIMES:
            value = record.get(key)
            given[key] = None if value in (None, "") else from_milliseconds(int(value))
        given["client"] = record.get("client") or "browser"
        return cls(id=record["id"], user=user_from(record["snapshot"]), **given)

    @property
    def snapshot(self) -> str:
        """The user as the text that a store keeps."""
        return snapshot_of(self.user)


_SESSION_TIMES = ("created_at", "seen_at", "refreshed_at", "ends_at", "expires_at", "proved_at")
_SESSION_TEXTS = ("ip", "user_agent", "identifier", "audience", "adapter", "name", "method")


def snapshot_of(user: User) -> str:
    """Return a user as the text that a store keeps."""
    record = user.to_json()
    if limits := record.pop("limits"):
        # Kept where the release before, which refuses a field that it does not know, looks for nothing: no account's
        # meta can have such a key.
        record["meta"]["$limits"] = limits
    return json.dumps(record, separators=(",", ":"))


def user_from(text: str) -> User:
    """Return the user that :func:`snapshot_of` wrote."""
    record = json.loads(text)
    return User.from_json({**record, "limits": record["meta"].pop("$limits", {})})
