"""Challenges, codes and sessions for the cases of the contract."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ...stores import Challenge, Outcome, SessionRecord, State, Store
from ...user import User

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
LIFETIME = timedelta(minutes=10)
ATTEMPTS = 5

CHALLENGE = Challenge(id="c0ffee", identifier="ada@example.com", sent_at=NOW, expires_at=NOW + LIFETIME)
USER = User(
    id="usr_1",
    email="ada@example.com",
    name="Ada ❤ Lovelace",
    image="https://example.com/ada.png",
    email_verified=NOW,
    created_at=NOW - timedelta(days=1),
    meta={"plan": "pro", "tags": ["a", "😀"]},
    kind="contact",
)


def later(seconds: float) -> datetime:
    """Return a time so many seconds after :data:`NOW`."""
    return NOW + timedelta(seconds=seconds)


def session(id: str = "5e55", user: User = USER, **changes: Any) -> SessionRecord:
    """Return a session."""
    record = SessionRecord(
        id=id,
        user=user,
        created_at=NOW,
        seen_at=NOW,
        refreshed_at=NOW,
        ends_at=NOW + timedelta(days=30),
        expires_at=NOW + timedelta(days=7),
        ip="2001:db8::1",
        user_agent="Mozilla/5.0",
    )
    return replace(record, **changes)


def add_code(store: Store, digest: str = "second", *, id: str = CHALLENGE.id, **changes: Any) -> bool:
    """Ask for another code a minute later; return whether it was added."""
    arguments: dict[str, Any] = {
        "now": later(60),
        "expires_at": later(60) + LIFETIME,
        "sent_before": later(30),
        "max_sends": 4,
        "max_attempts": ATTEMPTS,
        **changes,
    }
    return store.add_code(id, digest, **arguments)


def try_code(store: Store, *digests: str, now: datetime = NOW) -> Outcome:
    """Try a code, and return the outcome."""
    return store.try_code(CHALLENGE.id, digests, now=now, max_attempts=ATTEMPTS).outcome


def sign_in(store: Store, record: SessionRecord, *, now: datetime = NOW) -> None:
    """Put a session into the store, by completing a challenge."""
    challenge = replace(CHALLENGE, id=f"for {record.id}", sent_at=now, expires_at=now + LIFETIME)
    store.add_challenge(challenge, "right")
    store.try_code(challenge.id, ["right"], now=now, max_attempts=ATTEMPTS)
    assert store.complete(challenge.id, record, now=now)


def what(record: SessionRecord | None) -> dict[str, Any] | None:
    """Return all fields of a record, to compare. Two users with the same id are equal."""
    return {**vars(record), "user": record.user.to_json()} if record else None


def new_challenge(store: Store) -> str:
    """Begin a challenge whose code is ``right``; return its id."""
    id = uuid.uuid4().hex
    store.add_challenge(replace(CHALLENGE, id=id), "right")
    return id


def verified(store: Store, id: str | None = None) -> str:
    """Begin a challenge and type its code; return its id."""
    id = id or uuid.uuid4().hex
    store.add_challenge(replace(CHALLENGE, id=id), "right")
    assert store.try_code(id, ["right"], now=NOW, max_attempts=ATTEMPTS).outcome is Outcome.ACCEPTED
    return id


def state(store: Store, id: str = CHALLENGE.id) -> State:
    """Return the state of a challenge."""
    challenge = store.get_challenge(id)
    assert challenge
    return challenge.state
