"""The store contract: which steps a store takes, and which of them must be atomic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING

from ..user import User
from .records import MAX_CODES, Attempt, Challenge, Outcome, SessionRecord, State

if TYPE_CHECKING:
    from limits.storage import Storage as LimitsStorage

    from .events import Event

__all__ = ["MAX_CODES", "Attempt", "Challenge", "Outcome", "SessionRecord", "State", "Store"]


class Store(ABC):
    """Remembers challenges and sessions for as long as they last.

    To keep them elsewhere subclass :class:`~flask_chatbotkit_auth.stores.documents.DocumentStore`, which needs a read and a
    compare-and-set, or this. :class:`flask_chatbotkit_auth.testing.StoreContract` holds the cases that every store meets.
    A method may be called by any thread of any process at any time. Each one is atomic: it happens wholly or not at all.
    Times are aware UTC and always given by the caller, so that a store has no clock of its own.

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
    def accept_challenge(self, challenge_id: str, *, now: datetime, max_attempts: int) -> Attempt:
        """Move the challenge from open to verified without a code, for a proof of another kind: the link in the mail.

        Under the conditions of :meth:`try_code`, and as often: of any number of calls one is answered ``ACCEPTED``.
        ``WRONG`` is never answered. :attr:`Attempt.again` tells whether a ``SPENT`` challenge is verified and in time.
        """

    @abstractmethod
    def count_try(self, challenge_id: str, *, now: datetime, max_tries: int) -> bool:
        """Count one try to complete a verified challenge, before anything is asked of the API.

        :returns: ``False``, with nothing counted, when ``max_tries`` were counted before, or when the challenge is not
            verified (any more) or past its lifetime.
        """

    @abstractmethod
    def claim(self, challenge_id: str, *, now: datetime, max_tries: int) -> bool:
        """Count a try, and move the challenge from verified to claimed: one caller may now do what the code was for.

        Afterwards that caller calls :meth:`finish`, or :meth:`unclaim` when it failed and may be tried again. Where it never
        does, as a worker that was killed, the challenge counts as verified again :data:`~.records.CLAIM_LASTS` later.

        :returns: ``True`` to exactly one of the callers; ``False`` as :meth:`count_try`.
        """

    @abstractmethod
    def unclaim(self, challenge_id: str) -> None:
        """Move the challenge from claimed back to verified. One that is not claimed stays as it is."""

    @abstractmethod
    def finish(self, challenge_id: str) -> bool:
        """Move the challenge from claimed to completed; return whether it was claimed."""

    @abstractmethod
    def end_challenge(self, challenge_id: str) -> bool:
        """Move the challenge to completed from wherever it is: nothing comes of it any more.

        :returns: whether there was one that had not ended so before.
        """

    @abstractmethod
    def end_challenges(self, identifier: str, *, now: datetime) -> int:
        """End every challenge of an address that is within its lifetime; return how many there were."""

    @abstractmethod
    def complete(
        self,
        challenge_id: str,
        session: SessionRecord,
        *,
        now: datetime,
        event: Event | None = None,
        max_sessions: int | None = None,
    ) -> bool:
        """Move the challenge from verified to completed and remember the session it leads to, both or neither.

        :param event: remembered with them, where this is an :class:`~flask_chatbotkit_auth.stores.events.EventStore`.
        :param max_sessions: how many sessions the user may have afterwards. Those that were opened first end, in the same
            step, and never the new one. ``None``: any number.
        :returns: ``False``, with no session made, when the challenge is not verified (any more) or past its lifetime.
        """

    # Sessions

    @abstractmethod
    def get_session(self, session_id: str, *, now: datetime) -> SessionRecord | None:
        """Return the session, or ``None`` when it is unknown, ended or past its lifetime."""

    @abstractmethod
    def add_session(self, session: SessionRecord, *, now: datetime) -> None:
        """Remember a session that no challenge led to: one that the application opened itself."""

    @abstractmethod
    def list_sessions(self, user_id: str, *, now: datetime, limit: int | None = None) -> list[SessionRecord]:
        """Return the sessions of one user that have not ended, the most recently used first, at most ``limit``."""

    @abstractmethod
    def count_sessions(self, user_id: str, *, now: datetime) -> int:
        """Return how many sessions of one user have not ended."""

    @abstractmethod
    def touch_session(self, session_id: str, *, seen_at: datetime, expires_at: datetime, ip: str | None = None) -> None:
        """Note that the session was used. One that has ended, or was past its lifetime at ``seen_at``, stays so.

        :param ip: the address it was used from; ``None`` keeps the one before.
        """

    @abstractmethod
    def stamp_session(self, session_id: str, *, audience: str, adapter: str) -> None:
        """Write audience and adapter into a session that has none, such as one of 0.1. One that has them keeps them."""

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
    def end_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """End one session, or none if ``user_id`` is given and it is another user's; return whether one has ended."""

    @abstractmethod
    def end_sessions(self, user_id: str, *, keep: str | None = None) -> list[str]:
        """End every session of the user but the one whose id is ``keep``; return the ids of those that ended."""

    @abstractmethod
    def end_oldest_sessions(self, user_id: str, *, keep: int) -> list[str]:
        """End the sessions of the user that were opened first, so that ``keep`` stay; return the ids of those that ended."""

    @abstractmethod
    def end_all_sessions(self) -> int:
        """End every session of everybody; return how many there were."""

    # What may happen once, or by one at a time

    @abstractmethod
    def lease(self, name: str, *, now: datetime, until: datetime) -> bool:
        """Take a name that nobody holds, until then.

        :returns: ``True`` to exactly one of the callers, until the time is over or the name was released.
        """

    @abstractmethod
    def release(self, name: str, *, until: datetime) -> None:
        """Give back a name that was leased until exactly then. A later lease, of somebody else, stays."""

    def spend(self, nonce: str, *, now: datetime, until: datetime) -> bool:
        """Use something that works once; return whether this was the first time. It is remembered until then."""
        return self.lease(nonce, now=now, until=until)

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
