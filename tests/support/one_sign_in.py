"""One code, tried by many threads of several processes at once: it signs in one browser."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from flask_chatbotkit_auth import User
from flask_chatbotkit_auth.stores import Challenge, Outcome, SessionRecord, Store
from tests.support.workers import Workers, at_once, opened

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)


def session(id: str) -> SessionRecord:
    user = User(id="usr_1", email="ada@example.com")
    return SessionRecord(id, user, created_at=NOW, seen_at=NOW, refreshed_at=NOW, ends_at=LATER, expires_at=LATER)


def new_challenge(store: Store) -> str:
    id = uuid.uuid4().hex
    store.add_challenge(Challenge(id, "ada@example.com", sent_at=NOW, expires_at=LATER), "right")
    return id


def sign_in(store: Store, id: str, session_id: str) -> bool:
    tried = store.try_code(id, ["right"], now=NOW, max_attempts=5)
    return tried.outcome is Outcome.ACCEPTED and store.complete(id, session(session_id), now=NOW)


def submit(start: Callable[[], object], url: str, prefix: str, number: int, id: str) -> list[bool]:
    """Try one code in many threads of this process."""
    with opened(url, prefix) as store:
        store.ping()
        start()
        return at_once(25, lambda thread: sign_in(store, id, f"{id[:16]}-{number}-{thread}"))


def one_code_is_one_sign_in(store: Store, url: str, prefix: str) -> None:
    workers = Workers(2)
    try:
        for _ in range(3):
            id = new_challenge(store)
            assert workers.run(submit, url, prefix, id).count(True) == 1
    finally:
        workers.close()
    assert len(store.end_sessions("usr_1")) == 3
