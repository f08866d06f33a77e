"""The store contract: what is remembered of challenges and sessions, and which steps must be atomic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from ..user import User

if TYPE_CHECKING:
    from limits.storage import Storage as LimitsStorage

MAX_CODES = 4
"""How many codes of one challenge work at the same time: the first and the three that may be asked for again."""


class State(StrEnum):
    """The life of a challenge; it only ever moves forward."""

    OPEN = "open"
    VERIFIED = "verified"
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
    """The answer of :meth:`Store.try_code`."""

    outcome: Outcome
    attempts: int = 0
    """Wrong codes so far, this one included."""

    again: bool = False
    """Only where the challenge is verified, and waits to be completed: whether this code, too, is one of its own and in
    time. Who typed it has proved the address as well, and may have missed the answer to the first try."""


@dataclass(frozen=True)
class SessionRecord:
    """One signed-in browser. Times are aware UTC."""

    id: str = field(repr=False)
    """SHA-256 of the session's token, in hexadecimal: who reads the store cannot become the person."""

    user: User
    """The snapshot of the account."""

    created_at: datetime
    seen_at: datetime
    """Last use, written at most once a minute."""

    refreshed_at: datetime
    """When the snapshot was last read from the API."""

    ends_at: datetime
    """The end of the session, however much it is used (ASVS 5.0, 7.3.2)."""

    expires_at: datetime
    """The end of the session if it is not used again (ASVS 5.0, 7.3.1); never after :attr:`ends_at`."""

    ip: str | None = field(default=None, repr=False)
    user_agent: str | None = None


class Store(ABC):
    """Remembers challenges and sessions for as long as they last.

    Subclass it to keep them elsewhere; ``tests/stores/test_stores.py`` holds the cases that every store meets. A method may
    be called by any thread of any process at any time. Each one is atomic: it happens wholly or not at all. Times are aware
    UTC and always given by the caller, so that a store has no clock of its own.

    Every method raises :exc:`~flask_chatbotkit_auth.exceptions.StoreError` when the back end cannot be reached.
    """

    # Challenges

    @abstractmethod
    def add_challenge(self, challenge: Challenge, digest: str) -> None:
        """Remember a new challenge and the digest of its first code."""

    @abstractmethod
    def get_challenge(self, challenge_id: str) -> Challenge | None:
        """Return the challenge, even if it is past its lifetime, or ``None``."""

    @abstractmethod
    def add_code(
        self,
        challenge_id: str,
        digest: str,
        *,
        now: datetime,
        expires_at: datetime,
        sent_before: datetime,
        max_sends: int,
        max_attempts: int,
    ) -> bool:
        """Add one more code, unless the challenge may send none now. Attempts stay counted.

        Of two calls at the same time at most one adds a code, provided ``sent_before`` is in the past. The newest
        :data:`MAX_CODES` codes work, each until its own expiry.

        :param sent_before: the newest code must have been made at or before this time (now less the cooldown).
        :param max_sends: how many codes the challenge may have after this one.
        :param max_attempts: how many wrong codes end the challenge.
        :returns: whether the code was added; ``False`` also when the challenge is not open, expired or unknown.
        """

    @abstractmethod
    def withdraw_code(self, challenge_id: str) -> None:
        """Take back the newest code's place in the count and its cooldown, since it could not be sent.

        The code itself keeps working: a mail server may have taken the mail and failed to say so.
        """

    @abstractmethod
    def try_code(self, challenge_id: str, digests: Sequence[str], *, now: datetime, max_attempts: int) -> Attempt:
        """Count and compare a code in one step: the gate of the whole sign-in.

        Of any number of calls with a right code, wherever they run, exactly one is answered ``ACCEPTED``; it moves the
        challenge from open to verified (ASVS 5.0, 6.5.1). A wrong one is counted, and at ``max_attempts`` the challenge has
        ended (6.6.3).

        :param digests: the code's digest under each key that is in force (the secret key and its fallbacks).
        """

    @abstractmethod
    def complete(self, challenge_id: str, session: SessionRecord, *, now: datetime) -> bool:
        """Move the challenge from verified to completed and remember the session it leads to, both or neither.

        :returns: ``False``, with no session made, when the challenge is not verified (any more) or past its lifetime.
        """

    # Sessions

    @abstractmethod
    def get_session(self, session_id: str, *, now: datetime) -> SessionRecord | None:
        """Return the session, or ``None`` when it is unknown, ended or past its lifetime."""

    @abstractmethod
    def list_sessions(self, user_id: str, *, now: datetime) -> list[SessionRecord]:
        """Return the sessions of one user that have not ended, the most recently used first."""

    @abstractmethod
    def touch_session(self, session_id: str, *, seen_at: datetime, expires_at: datetime) -> None:
        """Note that the session was used. One that has ended, or was past its lifetime at ``seen_at``, stays so."""

    @abstractmethod
    def claim_refresh(
        self, session_id: str, *, now: datetime, refreshed_before: datetime, claim_until: datetime
    ) -> bool:
        """Give the task of refreshing the session's user to one caller.

        :param refreshed_before: only when the snapshot was last read before this time.
        :param claim_until: when others may try, should this caller never come back with a user.
        :returns: ``True`` to exactly one of the callers.
        """

    @abstractmethod
    def save_user(self, user: User, *, now: datetime) -> None:
        """Replace the snapshot in every session of the user by ``user``, read from the API at ``now``."""

    @abstractmethod
    def end_session(self, session_id: str) -> bool:
        """End one session; return whether there was one."""

    @abstractmethod
    def end_sessions(self, user_id: str, *, keep: str | None = None) -> list[str]:
        """End every session of the user but the one whose id is ``keep``; return the ids of those that ended."""

    # Care

    def connected(self) -> AbstractContextManager[None]:
        """Let the steps that this thread takes inside share one connection, where the back end has connections to share.

        Each of them stays atomic, and no two become one. Nothing that waits for anybody else belongs inside.
        """
        return nullcontext()

    def setup(self) -> None:  # noqa: B027  # most back ends need nothing made
        """Make what the back end needs, such as tables. Safe to call again, and from many processes at once."""

    def close(self) -> None:  # noqa: B027  # most back ends hold nothing open
        """Close the connections that the store has opened itself. The next use opens new ones."""

    @abstractmethod
    def ping(self) -> None:
        """Ask the back end for a sign of life.

        :raises StoreError: there is none. The text says what is wrong and the cure.
        """

    @abstractmethod
    def purge(self, *, now: datetime, limit: int = 1000) -> int:
        """Forget at most ``limit`` things that are past their lifetime; return how many there were."""

    @abstractmethod
    def limits_storage(self) -> LimitsStorage:
        """Return where the *limits* library counts by default: in this store's own back end."""
