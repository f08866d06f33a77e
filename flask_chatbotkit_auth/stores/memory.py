"""A store in this process's memory: for tests, and for a look around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING

from ..clock import EPOCH
from ..user import User
from .base import MAX_CODES, Attempt, Challenge, Outcome, SessionRecord, State, Store

if TYPE_CHECKING:
    from limits.storage import Storage as LimitsStorage


@dataclass
class _Entry:
    challenge: Challenge
    codes: list[tuple[str, datetime]] = field(default_factory=list)


class MemoryStore(Store):
    """Remembers in this process alone: nothing is shared between workers, nothing outlives a restart."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._challenges: dict[str, _Entry] = {}
        self._sessions: dict[str, SessionRecord] = {}
        self._claims: dict[str, datetime] = {}

    def add_challenge(self, challenge: Challenge, digest: str) -> None:
        with self._lock:
            self._challenges[challenge.id] = _Entry(challenge, [(digest, challenge.expires_at)])

    def get_challenge(self, challenge_id: str) -> Challenge | None:
        entry = self._challenges.get(challenge_id)
        return entry.challenge if entry else None

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
        with self._lock:
            entry = self._challenges.get(challenge_id)
            if entry is None:
                return False
            challenge = entry.challenge
            if (
                challenge.state is not State.OPEN
                or challenge.expires_at <= now
                or challenge.attempts >= max_attempts
                or challenge.sends >= max_sends
                or challenge.sent_at > sent_before
            ):
                return False
            entry.codes = [(digest, expires_at), *entry.codes[: MAX_CODES - 1]]
            entry.challenge = replace(challenge, sends=challenge.sends + 1, sent_at=now, expires_at=expires_at)
            return True

    def withdraw_code(self, challenge_id: str) -> None:
        with self._lock:
            entry = self._challenges.get(challenge_id)
            if entry is not None:
                sends = max(0, entry.challenge.sends - 1)
                entry.challenge = replace(entry.challenge, sends=sends, sent_at=EPOCH)

    def try_code(self, challenge_id: str, digests: Sequence[str], *, now: datetime, max_attempts: int) -> Attempt:
        with self._lock:
            entry = self._challenges.get(challenge_id)
            if entry is None:
                return Attempt(Outcome.MISSING)
            challenge = entry.challenge
            right = any(digest in digests and expires_at > now for digest, expires_at in entry.codes)
            if challenge.state is not State.OPEN:
                again = right and challenge.state is State.VERIFIED
                return Attempt(Outcome.SPENT, challenge.attempts, again)
            if challenge.attempts >= max_attempts:
                return Attempt(Outcome.EXHAUSTED, challenge.attempts)
            if challenge.expires_at <= now:
                return Attempt(Outcome.EXPIRED, challenge.attempts)
            if right:
                entry.challenge = replace(challenge, state=State.VERIFIED)
                return Attempt(Outcome.ACCEPTED, challenge.attempts)
            entry.challenge = replace(challenge, attempts=challenge.attempts + 1)
            return Attempt(Outcome.WRONG, challenge.attempts + 1)

    def complete(self, challenge_id: str, session: SessionRecord, *, now: datetime) -> bool:
        with self._lock:
            entry = self._challenges.get(challenge_id)
            if entry is None or entry.challenge.state is not State.VERIFIED or entry.challenge.expires_at <= now:
                return False
            entry.challenge = replace(entry.challenge, state=State.COMPLETED)
            self._sessions[session.id] = session
            return True

    def get_session(self, session_id: str, *, now: datetime) -> SessionRecord | None:
        record = self._sessions.get(session_id)
        return record if record and record.expires_at > now else None

    def list_sessions(self, user_id: str, *, now: datetime) -> list[SessionRecord]:
        with self._lock:
            found = [each for each in self._sessions.values() if each.user.id == user_id and each.expires_at > now]
        return sorted(found, key=lambda each: each.seen_at, reverse=True)

    def touch_session(self, session_id: str, *, seen_at: datetime, expires_at: datetime) -> None:
        with self._lock:
            record = self._sessions.get(session_id)
            if record is not None and record.expires_at > seen_at:
                self._sessions[session_id] = replace(record, seen_at=seen_at, expires_at=expires_at)

    def claim_refresh(
        self, session_id: str, *, now: datetime, refreshed_before: datetime, claim_until: datetime
    ) -> bool:
        with self._lock:
            record = self._sessions.get(session_id)
            claimed_until = self._claims.get(session_id)
            if record is None or record.refreshed_at >= refreshed_before or (claimed_until and claimed_until > now):
                return False
            self._claims[session_id] = claim_until
            return True

    def save_user(self, user: User, *, now: datetime) -> None:
        with self._lock:
            for key, record in self._sessions.items():
                if record.user.id == user.id:
                    self._sessions[key] = replace(record, user=user, refreshed_at=now)
                    self._claims.pop(key, None)

    def end_session(self, session_id: str) -> bool:
        with self._lock:
            self._claims.pop(session_id, None)
            return self._sessions.pop(session_id, None) is not None

    def end_sessions(self, user_id: str, *, keep: str | None = None) -> list[str]:
        with self._lock:
            ended = [key for key, each in self._sessions.items() if each.user.id == user_id and key != keep]
            for key in ended:
                del self._sessions[key]
                self._claims.pop(key, None)
            return ended

    def ping(self) -> None:
        """Memory is always there."""

    def purge(self, *, now: datetime, limit: int = 1000) -> int:
        with self._lock:
            challenges = [key for key, each in self._challenges.items() if each.challenge.expires_at <= now][:limit]
            sessions = [key for key, each in self._sessions.items() if each.expires_at <= now]
            sessions = sessions[: limit - len(challenges)]
            for key in challenges:
                del self._challenges[key]
            for key in sessions:
                del self._sessions[key]
                self._claims.pop(key, None)
            return len(challenges) + len(sessions)

    def limits_storage(self) -> LimitsStorage:
        from limits.storage import MemoryStorage

        return MemoryStorage()
