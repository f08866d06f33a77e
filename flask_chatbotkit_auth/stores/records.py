"""The records of a store: challenges and sessions, with their JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any, Literal

from ..clock import from_milliseconds, to_milliseconds
from ..user import User

MAX_CODES = 2
"""How many codes of a challenge work at the same time: the newest two, since mail can be late."""

CLAIM_LASTS = timedelta(minutes=1)
"""How long a claim excludes other callers if its caller never finishes. It is longer than the work takes."""

KEPT = timedelta(hours=1)
"""How long an expired challenge is kept, so that a late visitor reads "expired" and not "unknown"."""

Purpose = Literal["sign_in", "deletion", "address"]
"""The purpose of a challenge."""

Client = Literal["browser", "app"]
"""The kind of client that holds the token of a session."""


class State(StrEnum):
    """The states of a challenge. It only moves forward, except when a claim is released."""

    OPEN = "open"
    VERIFIED = "verified"
    CLAIMED = "claimed"
    """Verified, and one request is doing what the code is for. See :meth:`Store.claim`.

    It is stored as ``verified`` with the end of the claim, so that 0.1, which does not have this state, can read it.
    """
    COMPLETED = "completed"


@dataclass(frozen=True)
class Challenge:
    """An attempt of one browser to prove one address. Times are aware UTC."""

    id: str = field(repr=False)
    """128 random bits as text. It is in the browser's signed cookie, and never in a URL."""

    identifier: str = field(repr=False)
    sent_at: datetime
    """When the newest code was made."""

    expires_at: datetime
    """When the newest code expires, and the challenge with it."""

    state: State = State.OPEN
    attempts: int = 0
    """The number of wrong codes so far."""

    sends: int = 1
    """The number of codes so far."""

    purpose: Purpose = "sign_in"

    user_id: str | None = None
    """The account, if it is known before the code is typed: for deletion and a new address."""

    tries: int = 0
    """How often completing was tried. See :meth:`Store.count_try`."""

    claimed_until: datetime | None = None
    """When a claim expires; only in the state ``CLAIMED``."""

    def is_verified(self, now: datetime) -> bool:
        """Return whether it is verified, and not claimed."""
        if self.state is State.CLAIMED:
            return self.claimed_until is not None and self.claimed_until <= now
        return self.state is State.VERIFIED

    def to_json(self) -> dict[str, Any]:
        """Return every field, with times in milliseconds since the epoch, and 0 for no claim."""
        return {
            **vars(self),
            "state": State.VERIFIED if self.state is State.CLAIMED else self.state,
            "sent_at": to_milliseconds(self.sent_at),
            "expires_at": to_milliseconds(self.expires_at),
            "claimed_until": to_milliseconds(self.claimed_until) if self.claimed_until else 0,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Challenge:
        """Return the challenge that :meth:`to_json` wrote. A row of 0.1 lacks the newer fields. Unknown fields are ignored.

        Numbers can be texts, and absent values can be ``None`` or empty, as stores keep them.
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
    """The outcome of trying a code."""

    ACCEPTED = "accepted"
    """The code was right, and this call has used it."""

    WRONG = "wrong"
    """The code was wrong, and was counted."""

    EXHAUSTED = "exhausted"
    """Not compared: there were too many wrong codes before."""

    EXPIRED = "expired"
    """Not compared: the challenge has expired."""

    SPENT = "spent"
    """Another call has already used the challenge. See :attr:`Attempt.again`."""

    MISSING = "missing"
    """Not compared: the challenge does not exist."""


@dataclass(frozen=True)
class Attempt:
    """The result of :meth:`Store.try_code` and :meth:`Store.accept_challenge`."""

    outcome: Outcome
    attempts: int = 0
    """The number of wrong codes so far, including this one."""

    again: bool = False
    """For a verified challenge that is not completed yet: whether this code is right as well, and has not expired.

    The person who typed it has proved the address, too, and may not have received the first answer.
    """


@dataclass(frozen=True)
class SessionRecord:
    """The session of a browser or an app. Times are aware UTC."""

    id: str = field(repr=False)
    """The SHA-256 of the session's token, in hexadecimal. Somebody who reads the store cannot use the session."""

    user: User
    """The snapshot of the account."""

    created_at: datetime
    seen_at: datetime
    """The last use that was written."""

    refreshed_at: datetime
    """When the snapshot was last read from the API."""

    ends_at: datetime
    """The latest end of the session, even if it is used (ASVS 5.0, 7.3.2)."""

    expires_at: datetime
    """The end of the session if it is not used again (ASVS 5.0, 7.3.1); never after :attr:`ends_at`."""

    ip: str | None = field(default=None, repr=False)
    user_agent: str | None = None

    identifier: str | None = field(default=None, repr=False)
    """The address that was proved. ``None`` in a row of 0.1, and if the application opened the session itself."""

    audience: str | None = None
    """The application that the session is for. ``None`` in a row of 0.1, which is accepted and then stamped."""

    adapter: str | None = None
    """``"partner"`` or ``"contact"``. ``None`` in a row of 0.1."""

    client: Client = "browser"

    name: str | None = None
    """The name that an app gave itself."""

    method: str | None = None
    """How the person signed in: ``"code"``, ``"link"``, ``"passkey"`` or ``"application"``."""

    proved_at: datetime | None = None
    """When the person last proved the address; ``None`` if they did not."""

    def to_json(self) -> dict[str, Any]:
        """Return every field, with times in milliseconds since the epoch, and the user as ``snapshot`` and ``user_id``."""
        record = {key: value for key, value in vars(self).items() if key != "user"}
        for key in _SESSION_TIMES:
            record[key] = record[key] and to_milliseconds(record[key])
        return {**record, "user_id": self.user.id, "snapshot": self.snapshot}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> SessionRecord:
        """Return the session that :meth:`to_json` wrote, as :meth:`Challenge.from_json` does."""
        values: dict[str, Any] = {key: record.get(key) or None for key in _SESSION_TEXTS}
        for key in _SESSION_TIMES:
            value = record.get(key)
            values[key] = None if value in (None, "") else from_milliseconds(int(value))
        values["client"] = record.get("client") or "browser"
        return cls(id=record["id"], user=user_from(record["snapshot"]), **values)

    @property
    def snapshot(self) -> str:
        """The user as a text, for the store."""
        return snapshot_of(self.user)


_SESSION_TIMES = ("created_at", "seen_at", "refreshed_at", "ends_at", "expires_at", "proved_at")
_SESSION_TEXTS = ("ip", "user_agent", "identifier", "audience", "adapter", "name", "method")


def snapshot_of(user: User) -> str:
    """Return a user as a text, for the store."""
    record = user.to_json()
    if limits := record.pop("limits"):
        # Stored in meta, under a key that no account can have: the previous release refuses fields that it does not know.
        record["meta"]["$limits"] = limits
    return json.dumps(record, separators=(",", ":"))


def user_from(text: str) -> User:
    """Return the user that :func:`snapshot_of` wrote."""
    record = json.loads(text)
    return User.from_json({**record, "limits": record["meta"].pop("$limits", {})})


def spent_key(name: str) -> str:
    """Return the key of a name that is used or leased, which has a fixed length."""
    return f"spent:{spent_id(name)}"


def spent_id(name: str) -> str:
    """Return the id of a name that is used or leased: its SHA-256 in hexadecimal."""
    return hashlib.sha256(name.encode()).hexdigest()
