"""The store contract fails the stores that are wrong, and says why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from threading import Lock

import pytest

from flask_chatbotkit_auth import MemoryStore
from flask_chatbotkit_auth.stores import SessionRecord, State, Store
from flask_chatbotkit_auth.stores.documents import Change
from flask_chatbotkit_auth.testing import StoreContract


class TornWithAMarkFirst(MemoryStore):
    """Uses the challenge up, and adds the session afterwards."""

    def complete(self, challenge_id: str, session: SessionRecord, *, now: datetime, **more: object) -> bool:
        if not self.claim(challenge_id, now=now, max_tries=99):
            return False
        self.finish(challenge_id)
        self.add_session(session, now=now)
        return True


class TornWithASessionFirst(MemoryStore):
    """Adds the session, and uses the challenge up afterwards."""

    def complete(self, challenge_id: str, session: SessionRecord, *, now: datetime, **more: object) -> bool:
        challenge = self.get_challenge(challenge_id)
        if challenge is None or challenge.state is not State.VERIFIED or challenge.expires_at <= now:
            return False
        self.add_session(session, now=now)
        return self.end_challenge(challenge_id)


class ComparesNothing(MemoryStore):
    """Sets whatever it is told to."""

    def swap(self, changes: Mapping[str, Change]) -> bool:
        return super().swap({key: change._replace(old=self.read(key)) for key, change in changes.items()})


class LockedTwoWrites(MemoryStore):
    """Makes two writes, and lets nobody else in meanwhile: not torn."""

    def __init__(self) -> None:
        super().__init__()
        self._door = Lock()

    def read(self, key: str) -> str | None:
        with self._door:
            return super().read(key)

    def swap(self, changes: Mapping[str, Change]) -> bool:
        with self._door:
            if any(MemoryStore.read(self, key) != change.old for key, change in changes.items()):
                return False
            for key, change in changes.items():
                self._documents[key] = (change.new, change.expires_at)
            return True


def fails(store: Store, name: str) -> str:
    """Return the sentence with which a case of the contract fails; nothing where it passes."""
    try:
        getattr(StoreContract(), name)(store)
    except AssertionError as error:
        return str(error) or "it fails"
    return ""


@pytest.mark.parametrize("kind", [TornWithAMarkFirst, TornWithASessionFirst])
def test_a_complete_that_is_torn_fails(kind: type[MemoryStore]) -> None:
    assert "torn" in fails(kind(), "test_nobody_sees_a_half_of_completing")


@pytest.mark.parametrize(
    "case",
    [
        "test_a_code_that_is_tried_twice_is_accepted_once",
        "test_a_wrong_code_that_is_overtaken_is_counted",
        "test_a_challenge_that_is_completed_twice_makes_one_session",
        "test_one_of_two_claims_a_challenge",
    ],
)
def test_a_store_that_compares_nothing_before_it_sets_fails(case: str) -> None:
    assert fails(ComparesNothing(), case)
    assert not fails(MemoryStore(), case)


def test_a_store_whose_writes_nobody_can_see_one_by_one_passes() -> None:
    assert not fails(LockedTwoWrites(), "test_nobody_sees_a_half_of_completing")
