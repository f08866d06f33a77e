"""Where one machine ends: a pooler, and a primary that is lost under load. One code stays one sign-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.stores import Store
from flask_chatbotkit_auth.stores.redis import RedisStore
from flask_chatbotkit_auth.testing import StoreContract
from tests.support import topologies
from tests.support.one_sign_in import (
    NOW,
    come_through_a_failover,
    new_challenge,
    one_code_is_one_sign_in,
    sign_in,
)
from tests.support.workers import forget_everything, opened

pytestmark = pytest.mark.operations


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
    one_code_is_one_sign_in(store, [bouncer])


def test_a_promoted_replica_of_postgresql_takes_over(installed: Callable[[str], str]) -> None:
    installed("pg_basebackup")
    with topologies.postgresql_pair() as pair:
        come_through_a_failover([pair.url], pair.fail_over, keeps_all=True)


def test_sentinel_takes_the_store_to_the_new_primary(installed: Callable[[str], str], tmp_path: Path) -> None:
    installed("redis-server")
    with topologies.redis_sentinel(tmp_path) as pair:
        # What a primary of Redis answers, its replica may not have yet.
        come_through_a_failover([pair.url], pair.fail_over, keeps_all=False)


def test_a_node_of_a_redis_cluster_is_away_and_comes_back(installed: Callable[[str], str], tmp_path: Path) -> None:
    installed("redis-server")
    with topologies.redis_cluster(tmp_path) as url, opened(url, "{shop}:") as store:
        assert isinstance(store, RedisStore)
        assert sign_in(store, new_challenge(store), "before")
        node = store.client.get_node_from_key("{shop}:")
        with redis.Redis(port=node.port) as client:
            client.shutdown(nosave=True)
        with pytest.raises(StoreError):
            new_challenge(store)
        with topologies.cluster_node(tmp_path, node.port):

            def comes_in() -> bool:
                with suppress(StoreError):
                    return sign_in(store, new_challenge(store), "after")
                return False

            topologies.wait_for(comes_in)
            assert store.get_session("after", now=NOW)
