"""What must hold whatever runs at the same time: real processes, released at a barrier, on every engine they can share."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_chatbotkit_auth import User
from flask_chatbotkit_auth.stores import Challenge, Outcome, SessionRecord, State, Store
from flask_chatbotkit_auth.stores.base import MAX_CODES
from tests.support.kinds import SHARED
from tests.support.workers import Workers, at_once, forget_everything, opened

PROCESSES = 4
THREADS = 25
ATTEMPTS = 5
NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
USER = User(id="usr_1", email="ada@example.com")

pytestmark = pytest.mark.parametrize("store_url", [*SHARED, "redis cluster"], indirect=True, scope="module")

Start = Callable[[], object]


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    workers = Workers(PROCESSES)
    yield workers
    workers.close()


@pytest.fixture
def prefix() -> str:
    return f"{{race-{uuid.uuid4().hex}}}:"


@pytest.fixture
def store(store_url: str, prefix: str) -> Iterator[Store]:
    with opened(store_url, prefix) as store:
        yield store
        forget_everything(store)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def new_challenge(store: Store, *, lasts: float = 600) -> str:
    id = uuid.uuid4().hex
    store.add_challenge(Challenge(id=id, identifier=USER.email, sent_at=NOW, expires_at=later(lasts)), "right")
    return id


def known(store: Store, id: str) -> Challenge:
    challenge = store.get_challenge(id)
    assert challenge
    return challenge


def session(id: str) -> SessionRecord:
    return SessionRecord(
        id=id, user=USER, created_at=NOW, seen_at=NOW, refreshed_at=NOW, ends_at=later(9999), expires_at=later(999)
    )


def submit(start: Start, url: str, prefix: str, number: int, id: str, digest: str) -> list[str]:
    """Try one code from many threads and, where it was accepted, sign in."""
    with opened(url, prefix) as store:
        store.ping()
        start()

        def one(thread: int) -> str:
            outcome = store.try_code(id, [digest], now=NOW, max_attempts=ATTEMPTS).outcome
            if outcome is not Outcome.ACCEPTED:
                return str(outcome.value)
            return "signed in" if store.complete(id, session(f"{id[:8]}-{number}-{thread}"), now=NOW) else "lost"

        return at_once(THREADS, one)


def test_one_right_code_submitted_a_hundred_times_signs_in_once(
    store: Store, store_url: str, prefix: str, workers: Workers
) -> None:
    id = new_challenge(store)
    outcomes = workers.run(submit, store_url, prefix, id, "right")
    assert sorted(outcomes) == ["signed in", *["spent"] * 99]
    challenge = known(store, id)
    assert (challenge.state, challenge.attempts) == (State.COMPLETED, 0)
    assert len(store.end_sessions(USER.id)) == 1


def test_a_hundred_wrong_codes_at_once_are_counted_to_the_cap(
    store: Store, store_url: str, prefix: str, workers: Workers
) -> None:
    id = new_challenge(store)
    outcomes = workers.run(submit, store_url, prefix, id, "wrong")
    assert sorted(outcomes) == [*["exhausted"] * 95, *["wrong"] * 5]
    assert known(store, id).attempts == ATTEMPTS


def right_among_wrong(start: Start, url: str, prefix: str, number: int, id: str) -> list[str]:
    with opened(url, prefix) as store:
        store.ping()
        start()
        digests = ["right" if number == 0 and thread == 0 else "wrong" for thread in range(10)]
        return at_once(10, lambda thread: store.try_code(id, [digests[thread]], now=NOW, max_attempts=9).outcome.value)


def test_a_right_code_among_wrong_ones_is_never_credited_to_them(
    store: Store, store_url: str, prefix: str, workers: Workers
) -> None:
    for _ in range(5):
        id = new_challenge(store)
        outcomes = workers.run(right_among_wrong, store_url, prefix, id)
        challenge = known(store, id)
        assert outcomes.count("accepted") == (1 if challenge.state is State.VERIFIED else 0)
        assert outcomes.count("wrong") == challenge.attempts <= 9
        assert len(outcomes) == 40


def resend_or_verify(start: Start, url: str, prefix: str, number: int, id: str) -> list[Any]:
    with opened(url, prefix) as store:
        store.ping()
        start()
        answers: list[Any] = []
        for turn in range(10):
            if number % 2:
                added = store.add_code(
                    id,
                    f"code-{number}-{turn}",
                    now=later(60),
                    expires_at=later(660),
                    sent_before=later(30),
                    max_sends=MAX_CODES,
                    max_attempts=ATTEMPTS,
                )
                answers.append(added)
            else:
                answers.append(store.try_code(id, ["wrong"], now=later(60), max_attempts=ATTEMPTS).outcome.value)
        return answers


def test_codes_are_asked_for_while_codes_are_tried(store: Store, store_url: str, prefix: str, workers: Workers) -> None:
    id = new_challenge(store)
    answers = workers.run(resend_or_verify, store_url, prefix, id)
    challenge = known(store, id)
    # One code within the cooldown, unless the attempts were used up first; and no attempt is lost to a resend.
    assert answers.count(True) == challenge.sends - 1 <= 1
    assert answers.count("wrong") == challenge.attempts == ATTEMPTS
    assert answers.count("exhausted") == 15


def test_of_many_requests_for_another_code_one_is_granted(
    store: Store, store_url: str, prefix: str, workers: Workers
) -> None:
    id = new_challenge(store)
    granted = workers.run(ask_again, store_url, prefix, id)
    assert granted.count(True) == 1
    assert known(store, id).sends == 2


def ask_again(start: Start, url: str, prefix: str, number: int, id: str) -> list[bool]:
    with opened(url, prefix) as store:
        store.ping()
        start()

        def one(thread: int) -> bool:
            times = {"now": later(60), "expires_at": later(660), "sent_before": later(30)}
            return store.add_code(id, f"{number}-{thread}", **times, max_sends=MAX_CODES, max_attempts=ATTEMPTS)

        return at_once(10, one)


def finish(start: Start, url: str, prefix: str, number: int, id: str) -> list[bool]:
    with opened(url, prefix) as store:
        store.ping()
        start()
        return at_once(THREADS, lambda thread: store.complete(id, session(f"{id[:8]}-{number}-{thread}"), now=NOW))


def test_completion_raced_makes_one_session(store: Store, store_url: str, prefix: str, workers: Workers) -> None:
    id = new_challenge(store)
    assert store.try_code(id, ["right"], now=NOW, max_attempts=ATTEMPTS).outcome is Outcome.ACCEPTED
    finished = workers.run(finish, store_url, prefix, id)
    assert finished.count(True) == 1
    assert len(store.end_sessions(USER.id)) == 1


def verify_or_purge(start: Start, url: str, prefix: str, number: int, live: list[str]) -> list[str]:
    with opened(url, prefix) as store:
        store.ping()
        start()
        if number % 2:
            while store.purge(now=later(60), limit=20):
                pass
            return []
        mine = live[number // 2 :: 2]
        return [store.try_code(id, ["right"], now=later(60), max_attempts=ATTEMPTS).outcome.value for id in mine]


def test_purging_never_takes_what_is_being_verified(
    store: Store, store_url: str, prefix: str, workers: Workers
) -> None:
    live = [new_challenge(store) for _ in range(40)]
    for _ in range(200):
        new_challenge(store, lasts=1)
    outcomes = workers.run(verify_or_purge, store_url, prefix, live)
    assert outcomes == ["accepted"] * 40
    assert store.purge(now=later(60)) == 0
    assert all(known(store, id).state is State.VERIFIED for id in live)


def claim(start: Start, url: str, prefix: str, number: int, id: str) -> list[bool]:
    with opened(url, prefix) as store:
        store.ping()
        start()
        times = {"now": later(400), "refreshed_before": later(100), "claim_until": later(415)}
        return at_once(10, lambda thread: store.claim_refresh(id, **times))


def test_one_request_of_all_workers_refreshes_a_user(
    store: Store, store_url: str, prefix: str, workers: Workers
) -> None:
    id = new_challenge(store)
    store.try_code(id, ["right"], now=NOW, max_attempts=ATTEMPTS)
    assert store.complete(id, session(id), now=NOW)
    assert workers.run(claim, store_url, prefix, id).count(True) == 1
    store.end_session(id)


def end_or_use(start: Start, url: str, prefix: str, number: int, ids: list[str]) -> list[str]:
    with opened(url, prefix) as store:
        store.ping()
        start()
        if number == 0:
            return store.end_sessions(USER.id)
        for id in ids:
            store.touch_session(id, seen_at=later(number), expires_at=later(999 + number))
            store.save_user(replace(USER, name=f"from {number}"), now=later(number))
        return []


def test_ended_sessions_stay_ended_while_they_are_used(
    store: Store, store_url: str, prefix: str, workers: Workers
) -> None:
    ids = [new_challenge(store) for _ in range(8)]
    for id in ids:
        store.try_code(id, ["right"], now=NOW, max_attempts=ATTEMPTS)
        assert store.complete(id, session(id), now=NOW)
    ended = workers.run(end_or_use, store_url, prefix, ids)
    assert sorted(ended) == sorted(ids)
    assert store.list_sessions(USER.id, now=NOW) == []
    assert not any(store.get_session(id, now=NOW) for id in ids)


def set_up(start: Start, url: str, prefix: str, number: int) -> list[str]:
    start()
    with opened(url, prefix) as store:
        store.ping()
        return [new_challenge(store)]


def test_workers_make_the_tables_at_once(store: Store, store_url: str, prefix: str, workers: Workers) -> None:
    for _ in range(3):
        if database := getattr(store, "database", None):
            database.metadata.drop_all(database.engine)
        assert len(workers.run(set_up, store_url, prefix)) == PROCESSES
        if database:
            inspector = sa.inspect(database.engine)
            indexes = {name: len(inspector.get_indexes(name)) for name in inspector.get_table_names()}
            assert indexes == {
                "chatbotkit_auth_challenges": 2,
                "chatbotkit_auth_sessions": 2,
                "chatbotkit_auth_limits": 1,
                "chatbotkit_auth_spent": 1,
                "chatbotkit_auth_passkeys": 2,
                "chatbotkit_auth_events": 3,
                "chatbotkit_auth_schema": 0,
            }
