"""The store contract: the methods of a store, each of which is atomic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..user import User
from .records import MAX_CODES, Attempt, Challenge, Outcome, SessionRecord, State

if TYPE_CHECKING:
    from limits.storage import Storage as LimitsStorage

    from .events import Event

__all__ = ["MAX_CODES", "Attempt", "Challenge", "Outcome", "SessionRecord", "State", "Store"]


class Store(ABC):
    """Stores challenges and sessions.

    For another back end, subclass :class:`~flask_chatbotkit_auth.stores.documents.DocumentStore`, which needs only a read
    and a compare-and-set, or this class. Test it with :class:`flask_chatbotkit_auth.testing.StoreContract`. Any thread of
    any process can call a method at any time. Each method is atomic: it happens completely or not at all. Times are aware
    UTC, and the caller passes them, so a store needs no clock.

    Every method raises :exc:`~flask_chatbotkit_auth.exceptions.StoreError` if the back end cannot be reached.
    """

    # Challenges

    @abstractmethod
    def add_challenge(self, challenge: Challenge, digest: str) -> None:
        """Add a challenge, and the digest of its first code."""

    @abstractmethod
    def get_challenge(self, challenge_id: str) -> Challenge | None:
        """Return the challenge, even if it has expired, or ``None``."""

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
        """Add another code, if the challenge can have one now. The attempts stay counted.

        Of two calls at the same time, at most one adds a code, if ``sent_before`` is in the past. The newest
        :data:`MAX_CODES` codes work, each until its own expiry.

        :param sent_before: the newest code must have been made at or before this time (now minus the cooldown).
        :param max_sends: the most codes that the challenge can have, including this one.
        :param max_attempts: how many wrong codes end the challenge.
        :returns: whether the code was added. ``False`` also if the challenge is not open, has expired, or is unknown.
        """

    @abstractmethod
    def withdraw_code(self, challenge_id: str) -> None:
        """Undo the count and the cooldown of the newest code, since it could not be sent.

        The code itself still works: the mail server may have accepted the mail without confirming it.
        """

    @abstractmethod
    def try_code(self, challenge_id: str, digests: Sequence[str], *, now: datetime, max_attempts: int) -> Attempt:
        """Count and compare a code in one step. The security of the sign-in depends on this method.

        Of any number of calls with a right code, on all workers, exactly one returns ``ACCEPTED``. It moves the challenge
        from open to verified (ASVS 5.0, 6.5.1). A wrong code is counted, and at ``max_attempts`` the challenge ends
        (6.6.3).

        :param digests: the digest of the code with each valid key (the secret key and its fallbacks).
        """

    @abstractmethod
    def accept_challenge(self, challenge_id: str, *, now: datetime, max_attempts: int) -> Attempt:
        """Move the challenge from open to verified without a code, for another proof: the link in the mail.

        The conditions are those of :meth:`try_code`: of any number of calls, exactly one returns ``ACCEPTED``. ``WRONG`` is
        never returned. :attr:`Attempt.again` says whether a ``SPENT`` challenge is verified and has not expired.
        """

    @abstractmethod
    def count_try(self, challenge_id: str, *, now: datetime, max_tries: int) -> bool:
        """Count one try to complete a verified challenge, before the API is called.

        :returns: ``False``, without counting, if ``max_tries`` were counted already, or if the challenge is not verified or
            has expired.
        """

    @abstractmethod
    def claim(self, challenge_id: str, *, now: datetime, max_tries: int) -> bool:
        """Count a try, and move the challenge from verified to claimed, so that only this caller does what the code is for.

        Afterwards the caller calls :meth:`finish`, or :meth:`unclaim` if it failed and can be tried again. If it does
        neither, for example since the worker was killed, the challenge counts as verified again after
        :data:`~.records.CLAIM_LASTS`.

        :returns: ``True`` to exactly one of the callers; ``False`` as :meth:`count_try`.
        """

    @abstractmethod
    def unclaim(self, challenge_id: str) -> None:
        """Move the challenge from claimed back to verified. Do nothing if it is not claimed."""

    @abstractmethod
    def finish(self, challenge_id: str) -> bool:
        """Move the challenge from claimed to completed; return whether it was claimed."""

    @abstractmethod
    def end_challenge(self, challenge_id: str) -> bool:
        """Move the challenge to completed from any state, so that it cannot be used any more.

        :returns: whether there was such a challenge that was not completed yet.
        """

    @abstractmethod
    def end_challenges(self, identifier: str, *, now: datetime) -> int:
        """End every challenge of an address that has not expired. Return how many there were."""

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
        """Move the challenge from verified to completed, and add its session: both or neither.

        :param event: added in the same step, if this is an :class:`~flask_chatbotkit_auth.stores.events.EventStore`.
        :param max_sessions: the most sessions that the user can have afterwards. The ones that were opened first end in the
            same step, but never the new one. ``None`` for no limit.
        :returns: ``False``, without adding a session, if the challenge is not verified or has expired.
        """

    # Sessions

    @abstractmethod
    def get_session(self, session_id: str, *, now: datetime) -> SessionRecord | None:
        """Return the session, or ``None`` if it is unknown, has ended, or has expired."""

    @abstractmethod
    def add_session(self, session: SessionRecord, *, now: datetime) -> None:
        """Add a session without a challenge, which the application opened itself."""

    @abstractmethod
    def list_sessions(self, user_id: str, *, now: datetime, limit: int | None = None) -> list[SessionRecord]:
        """Return the sessions of one user that have not ended, the most recently used first, at most ``limit``."""

    @abstractmethod
    def count_sessions(self, user_id: str, *, now: datetime) -> int:
        """Return how many sessions of one user have not ended."""

    @abstractmethod
    def touch_session(self, session_id: str, *, seen_at: datetime, expires_at: datetime, ip: str | None = None) -> None:
        """Write the time of the last use. A session that has ended, or had expired at ``seen_at``, is not changed.

        :param ip: the client's address; ``None`` keeps the previous one.
        """

    @abstractmethod
    def stamp_session(self, session_id: str, *, audience: str, adapter: str) -> None:
        """Set audience and adapter of a session that has none, such as one of 0.1."""

    @abstractmethod
    def claim_refresh(
        self, session_id: str, *, now: datetime, refreshed_before: datetime, claim_until: datetime
    ) -> bool:
        """Assign the refresh of the session's user to one caller.

        :param refreshed_before: only if the snapshot was last read before this time.
        :param claim_until: when another caller can try, if this one never saves a user.
        :returns: ``True`` to exactly one of the callers.
        """

    @abstractmethod
    def save_user(self, user: User, *, now: datetime) -> None:
        """Replace the snapshot in every session of the user with ``user``, which was read from the API at ``now``."""

    @abstractmethod
    def end_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """End a session. If ``user_id`` is given, it must be that user's. Return whether it was ended."""

    @abstractmethod
    def end_sessions(self, user_id: str, *, keep: str | None = None) -> list[str]:
        """End every session of the user except the one with the id ``keep``. Return the ids of those that were ended."""

    @abstractmethod
    def end_oldest_sessions(
        self, user_id: str, *, keep: int, now: datetime | None = None, spared: str | None = None
    ) -> list[str]:
        """End the sessions of the user that were opened first, so that ``keep`` stay; return the ids of those that ended.

        :param now: sessions that have expired by then do not count. ``None`` counts them.
        :param spared: the id of a session that counts as the newest, since the clock of its worker may be slow.
        """

    @abstractmethod
    def end_all_sessions(self) -> int:
        """End every session of every user. Return how many there were."""

    # Leases, and things that work once

    @abstractmethod
    def lease(self, name: str, *, now: datetime, until: datetime) -> bool:
        """Lease a name until then, if nobody holds it.

        :returns: ``True`` to exactly one of the callers, until the time is over or the name is released.
        """

    @abstractmethod
    def release(self, name: str, *, until: datetime) -> None:
        """Release a name that was leased until exactly then. A later lease of another caller is not changed."""

    def spend(self, nonce: str, *, now: datetime, until: datetime) -> bool:
        """Mark a name as used. Return whether this was the first time. It is remembered until then."""
        return self.lease(nonce, now=now, until=until)

    # Maintenance

    def setup(self) -> None:  # noqa: B027  # most back ends need nothing made
        """Create what the back end needs, such as tables. It can be called again, and by many processes at once."""

    def close(self) -> None:  # noqa: B027  # most back ends hold nothing open
        """Close the connections that the store opened itself. The next use opens new ones."""

    @abstractmethod
    def ping(self) -> None:
        """Check that the back end answers.

        :raises StoreError: it does not. The text says the cause and the cure.
        """

    @abstractmethod
    def purge(self, *, now: datetime, limit: int = 1000) -> int:
        """Delete at most ``limit`` expired records. Return how many were deleted."""

    @abstractmethod
    def limits_storage(self) -> LimitsStorage:
        """Return the default storage of the *limits* library: this store's own back end."""
