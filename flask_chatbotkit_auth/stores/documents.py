"""``DocumentStore`` makes every decision of a store, so that a back end only reads texts and swaps them."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from ..clock import EPOCH, from_milliseconds, to_milliseconds
from ..exceptions import StoreError
from ..user import User
from .base import Store
from .records import CLAIM_LASTS, KEPT, MAX_CODES, Attempt, Challenge, Outcome, SessionRecord, State, spent_key
from .steps import Change, Step

if TYPE_CHECKING:
    from .events import Event

__all__ = ["Change", "DocumentStore", "Step"]

Result = TypeVar("Result")

_ROUNDS = 1000


class DocumentStore(Store):
    """Stores texts under keys. A subclass reads a text, and changes several texts at once if none has changed meanwhile.

    A step can use any keys, and the back end must change them all at once. If it can change only one key at a time, an
    interrupted step would leave a used challenge without a session, or a session without a proof. Such a back end needs a
    lock.
    """

    @abstractmethod
    def read(self, key: str) -> str | None:
        """Return the text under a key, or ``None``."""

    @abstractmethod
    def swap(self, changes: Mapping[str, Change]) -> bool:
        """Make all changes and return ``True`` if every key has the expected text.

        Otherwise change nothing and return ``False``.
        """

    @abstractmethod
    def keys(self, prefix: str) -> Iterable[str]:
        """Return the keys with this prefix. Only the commands for administrators use it."""

    # Challenges

    def add_challenge(self, challenge: Challenge, digest: str) -> None:
        def decide(step: Step) -> None:
            codes = [[digest, to_milliseconds(challenge.expires_at)]]
            step.write(
                f"challenge:{challenge.id}", {**challenge.to_json(), "codes": codes}, challenge.expires_at + KEPT
            )
            ids = [id for id in step.ids(f"address:{challenge.identifier}") if step.read(f"challenge:{id}")]
            step.write(f"address:{challenge.identifier}", [*ids, challenge.id], challenge.expires_at + KEPT)

        self.take(decide)

    def get_challenge(self, challenge_id: str) -> Challenge | None:
        text = self.read(f"challenge:{challenge_id}")
        return Challenge.from_json(json.loads(text)) if text else None

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
        def decide(step: Step) -> bool:
            challenge, codes = step.challenge(challenge_id)
            if (
                challenge is None
                or challenge.state is not State.OPEN
                or challenge.expires_at <= now
                or challenge.attempts >= max_attempts
                or challenge.sends >= max_sends
                or challenge.sent_at > sent_before
            ):
                return False
            codes = [[digest, to_milliseconds(expires_at)], *codes[: MAX_CODES - 1]]
            step.save(replace(challenge, sends=challenge.sends + 1, sent_at=now, expires_at=expires_at), codes)
            return True

        return self.take(decide)

    def withdraw_code(self, challenge_id: str) -> None:
        def decide(step: Step) -> None:
            challenge, codes = step.challenge(challenge_id)
            if challenge is not None:
                step.save(replace(challenge, sends=max(0, challenge.sends - 1), sent_at=EPOCH), codes)

        self.take(decide)

    def try_code(self, challenge_id: str, digests: Sequence[str], *, now: datetime, max_attempts: int) -> Attempt:
        return self._open(challenge_id, digests, now, max_attempts)

    def accept_challenge(self, challenge_id: str, *, now: datetime, max_attempts: int) -> Attempt:
        return self._open(challenge_id, None, now, max_attempts)

    def _open(self, challenge_id: str, digests: Sequence[str] | None, now: datetime, max_attempts: int) -> Attempt:
        """Count and compare a code. Without ``digests``, the proof is of another kind, and valid."""

        def decide(step: Step) -> Attempt:
            challenge, codes = step.challenge(challenge_id)
            if challenge is None:
                return Attempt(Outcome.MISSING)
            if digests is None:
                right = challenge.expires_at > now
            else:
                live = (digest for digest, until in codes[:MAX_CODES] if from_milliseconds(until) > now)
                right = any(digest in digests for digest in live)
            if challenge.state is not State.OPEN:
                return Attempt(Outcome.SPENT, challenge.attempts, right and challenge.is_verified(now))
            if challenge.attempts >= max_attempts:
                return Attempt(Outcome.EXHAUSTED, challenge.attempts)
            if challenge.expires_at <= now:
                return Attempt(Outcome.EXPIRED, challenge.attempts)
            if right:
                step.save(replace(challenge, state=State.VERIFIED), codes)
                return Attempt(Outcome.ACCEPTED, challenge.attempts)
            step.save(replace(challenge, attempts=challenge.attempts + 1), codes)
            return Attempt(Outcome.WRONG, challenge.attempts + 1)

        return self.take(decide)

    def count_try(self, challenge_id: str, *, now: datetime, max_tries: int) -> bool:
        return self._count(challenge_id, now, max_tries, State.VERIFIED)

    def claim(self, challenge_id: str, *, now: datetime, max_tries: int) -> bool:
        return self._count(challenge_id, now, max_tries, State.CLAIMED)

    def _count(self, challenge_id: str, now: datetime, max_tries: int, state: State) -> bool:
        def decide(step: Step) -> bool:
            challenge, codes = step.verified(challenge_id, now)
            if challenge is None or challenge.tries >= max_tries:
                return False
            until = now + CLAIM_LASTS if state is State.CLAIMED else None
            step.save(replace(challenge, tries=challenge.tries + 1, state=state, claimed_until=until), codes)
            return True

        return self.take(decide)

    def unclaim(self, challenge_id: str) -> None:
        self._move(challenge_id, State.VERIFIED, only_from=State.CLAIMED)

    def finish(self, challenge_id: str) -> bool:
        return self._move(challenge_id, State.COMPLETED, only_from=State.CLAIMED)

    def end_challenge(self, challenge_id: str) -> bool:
        return self._move(challenge_id, State.COMPLETED)

    def _move(
        self, challenge_id: str, state: State, *, only_from: State | None = None, now: datetime | None = None
    ) -> bool:
        def decide(step: Step) -> bool:
            challenge, codes = step.challenge(challenge_id)
            if (
                challenge is None
                or challenge.state is state
                or (only_from and challenge.state is not only_from)
                or (now and challenge.expires_at <= now)
            ):
                return False
            step.save(replace(challenge, state=state, claimed_until=None), codes)
            return True

        return self.take(decide)

    def end_challenges(self, identifier: str, *, now: datetime) -> int:
        ids = Step(self).ids(f"address:{identifier}")
        return sum(self._move(id, State.COMPLETED, now=now) for id in ids)

    def complete(
        self,
        challenge_id: str,
        session: SessionRecord,
        *,
        now: datetime,
        event: Event | None = None,
        max_sessions: int | None = None,
    ) -> bool:
        def decide(step: Step) -> bool:
            challenge, codes = step.verified(challenge_id, now)
            if challenge is None:
                return False
            step.save(replace(challenge, state=State.COMPLETED, claimed_until=None), codes)
            step.add_session(session)
            if max_sessions is not None:
                step.end_oldest(session.user.id, max_sessions, spared=session.id, now=now)
            self.remember(step, event)
            return True

        return self.take(decide)

    def remember(self, step: Step, event: Event | None) -> None:  # a store does not have to keep events
        """Add an event to a step, if the store keeps events."""

    # Sessions

    def add_session(self, session: SessionRecord, *, now: datetime) -> None:
        self.take(lambda step: step.add_session(session))

    def get_session(self, session_id: str, *, now: datetime) -> SessionRecord | None:
        record = Step(self).session(session_id)[0]
        return record if record and record.expires_at > now else None

    def list_sessions(self, user_id: str, *, now: datetime, limit: int | None = None) -> list[SessionRecord]:
        live = [each for each in Step(self).sessions(user_id) if each.expires_at > now]
        return sorted(live, key=lambda each: each.seen_at, reverse=True)[:limit]

    def count_sessions(self, user_id: str, *, now: datetime) -> int:
        return len(self.list_sessions(user_id, now=now))

    def touch_session(self, session_id: str, *, seen_at: datetime, expires_at: datetime, ip: str | None = None) -> None:
        def decide(step: Step) -> None:
            record, claimed_until = step.session(session_id)
            if record is not None and record.expires_at > seen_at:
                used = replace(record, seen_at=seen_at, expires_at=expires_at, ip=ip or record.ip)
                step.save_session(used, claimed_until)

        self.take(decide)

    def stamp_session(self, session_id: str, *, audience: str, adapter: str) -> None:
        def decide(step: Step) -> None:
            record, claimed_until = step.session(session_id)
            if record is not None and record.audience is None:
                step.save_session(replace(record, audience=audience, adapter=adapter), claimed_until)

        self.take(decide)

    def claim_refresh(
        self, session_id: str, *, now: datetime, refreshed_before: datetime, claim_until: datetime
    ) -> bool:
        def decide(step: Step) -> bool:
            record, claimed_until = step.session(session_id)
            if record is None or record.refreshed_at >= refreshed_before or from_milliseconds(claimed_until) > now:
                return False
            step.save_session(record, to_milliseconds(claim_until))
            return True

        return self.take(decide)

    def save_user(self, user: User, *, now: datetime) -> None:
        def decide(step: Step) -> None:
            for record in step.sessions(user.id):
                step.save_session(replace(record, user=user, refreshed_at=now))

        self.take(decide)

    def end_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        def decide(step: Step) -> bool:
            record, _ = step.session(session_id)
            if record is None or (user_id is not None and record.user.id != user_id):
                return False
            return bool(step.end_sessions(record.user.id, [record]))

        return self.take(decide)

    def end_sessions(self, user_id: str, *, keep: str | None = None) -> list[str]:
        def decide(step: Step) -> list[str]:
            return step.end_sessions(user_id, [each for each in step.sessions(user_id) if each.id != keep])

        return self.take(decide)

    def end_oldest_sessions(
        self, user_id: str, *, keep: int, now: datetime | None = None, spared: str | None = None
    ) -> list[str]:
        return self.take(lambda step: step.end_oldest(user_id, keep, spared=spared, now=now or EPOCH))

    def end_all_sessions(self) -> int:
        return sum(self.end_session(key.removeprefix("session:")) for key in list(self.keys("session:")))

    # Leases, and things that work once

    def lease(self, name: str, *, now: datetime, until: datetime) -> bool:
        return self.take(lambda step: step.spend(name, now, until))

    def release(self, name: str, *, until: datetime) -> None:
        def decide(step: Step) -> None:
            if step.read(spent_key(name)) == to_milliseconds(until):
                step.remove(spent_key(name))

        self.take(decide)

    def take(self, decide: Callable[[Step], Result]) -> Result:
        """Run a step: decide on the current documents, and write the changes. Repeat if a document has changed meanwhile."""
        for _ in range(_ROUNDS):
            step = Step(self)
            result = decide(step)
            if not step.changes or self.swap(step.changes):
                return result
        raise StoreError("the sign-in store is so busy that a step could not be written; try again in a moment")
