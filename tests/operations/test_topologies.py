"""Where one machine ends: a pooler, a primary that is lost under load, MySQL. One code stays one sign-in."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.stores import Store
from flask_chatbotkit_auth.testing import StoreContract
from tests.support import topologies
from tests.support.one_sign_in import NOW, new_challenge, one_code_is_one_sign_in, sign_in
from tests.support.workers import forget_everything, opened

pytestmark = pytest.mark.operations

THREADS = 4


def lose_the_primary_under_load(pair: topologies.Pair, *, keeps_all: bool) -> None:
    """Sign people in from several threads, each code twice, while one server takes over from the other.

    Afterwards no code has led to two sessions, and whoever was told that they are signed in is so.

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

    with opened(pair.url, prefix) as store, ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(sign_people_in, store) for _ in range(THREADS)]
        try:
            assert under_way.wait(topologies.PATIENCE)
            pair.fail_over()
            failed_over.set()
            assert over.wait(topologies.PATIENCE), "nobody comes in after the failover"
        finally:
            over.set()
        for each in running:
            each.result()
        living = {each.id for each in store.list_sessions("usr_1", now=NOW)}
    assert len({id for id, _, _ in told}) == len(told) or not keeps_all
    assert {session_id for _, session_id, after in told if after or keeps_all} <= living
    assert len({session_id[:-1] for session_id in living}) == len(living)


@pytest.fixture(scope="module")
def bouncer(postgresql_server: str, installed: Callable[[str], str]) -> Iterator[str]:
    with topologies.pgbouncer(installed("pgbouncer"), postgresql_server) as url:
        yield url


@pytest.fixture
def store(bouncer: str) -> Iterator[Store]:
    with opened(bouncer, "") as store:
        yield store
        forget_everything(store)


class TestBehindPgBouncer(StoreContract):
    """The contract, where each transaction may meet another connection to the server."""


def test_one_code_is_one_sign_in_behind_pgbouncer(store: Store, bouncer: str) -> None:
    one_code_is_one_sign_in(store, bouncer, "")


def test_a_promoted_replica_of_postgresql_takes_over(installed: Callable[[str], str]) -> None:
    installed("pg_basebackup")
    with topologies.postgresql_pair() as pair:
        lose_the_primary_under_load(pair, keeps_all=True)


def test_sentinel_takes_the_store_to_the_new_primary(installed: Callable[[str], str], tmp_path: Path) -> None:
    installed("redis-server")
    with topologies.redis_sentinel(tmp_path) as pair:
        # What a primary of Redis answers, its replica may not have yet.
        lose_the_primary_under_load(pair, keeps_all=False)
