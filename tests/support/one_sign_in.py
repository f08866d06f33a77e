"""One code, tried many times at once or while a server is lost: it signs in one browser."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from threading import Event

from flask_chatbotkit_auth import User
from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.stores import Challenge, Outcome, SessionRecord, Store
from tests.support.workers import PATIENCE, Workers, at_once, opened

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
THREADS = 4


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


def submit(
    start: Callable[[], object], _url: str, prefix: str, number: int, id: str, urls: Sequence[str]
) -> list[bool]:
    """Try one code in many threads of this process."""
    with opened(urls[number % len(urls)], prefix) as store:
        store.ping()
        start()
        return at_once(25, lambda thread: sign_in(store, id, f"{id[:16]}-{number}-{thread}"))


def one_code_is_one_sign_in(store: Store, urls: Sequence[str], prefix: str = "") -> None:
    """Try one code in two processes, which reach the store by the URLs in turn."""
    workers = Workers(2)
    try:
        for _ in range(3):
            id = new_challenge(store)
            assert workers.run(submit, urls[0], prefix, id, urls).count(True) == 1
    finally:
        workers.close()
    assert len(store.end_sessions("usr_1")) == 3


def come_through_a_failover(urls: Sequence[str], fail_over: Callable[[], object], *, keeps_all: bool) -> None:
    """Sign people in from several threads, each code twice, while a server is lost.

    Afterwards no code has led to two sessions, and whoever was told that they are signed in is so.

    :param urls: of what is left, and of what is lost, the threads in turn.
    :param fail_over: loses a server, and returns when the others take writes.
    :param keeps_all: also who was told so in the last moment of the server that is lost.
    """
    prefix = f"{{{uuid.uuid4().hex}}}:"
    told: list[tuple[str, str, bool]] = []
    under_way, failed_over, over, pause = Event(), Event(), Event(), Event()

    def sign_people_in(store: Store) -> None:
        while not over.is_set():
            try:
                id = new_challenge(store)
                for turn in ("a", "b"):
                    after = failed_over.is_set()
                    if sign_in(store, id, f"{id[:24]}{turn}"):
                        told.append((id, f"{id[:24]}{turn}", after))
                        under_way.set()
                        if after:
                            over.set()
            except StoreError:
                pause.wait(0.05)

    with ExitStack() as stack:
        stores = [stack.enter_context(opened(url, prefix)) for url in urls]
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))
        running = [pool.submit(sign_people_in, stores[number % len(urls)]) for number in range(THREADS)]
        try:
            assert under_way.wait(PATIENCE)
            fail_over()
            failed_over.set()
            assert over.wait(PATIENCE), "nobody comes in after the failover"
        finally:
            over.set()
        for each in running:
            each.result()
        living = {each.id for each in stores[0].list_sessions("usr_1", now=NOW)}
    assert len({id for id, _, _ in told}) == len(told) or not keeps_all
    assert {session_id for _, session_id, after in told if after or keeps_all} <= living
    assert len({session_id[:-1] for session_id in living}) == len(living)
