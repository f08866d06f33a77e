"""The store contract: the same cases for every back end, then what is special about one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from flask_chatbotkit_auth import ConfigurationError, MemoryStore, User, stores
from flask_chatbotkit_auth.stores import Outcome, Store, open_store
from flask_chatbotkit_auth.stores.redis import RedisStore
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
from flask_chatbotkit_auth.testing import StoreContract
from flask_chatbotkit_auth.testing.contract.interleave import at_every_line
from flask_chatbotkit_auth.testing.contract.samples import (
    CHALLENGE,
    NOW,
    USER,
    add_code,
    later,
    session,
    sign_in,
    try_code,
    verified,
    what,
)
from tests.support.kinds import DATABASES, EVERY, SERVERS
from tests.support.workers import at_once


def on(*kinds: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("store_url", kinds, indirect=True, scope="module")


every_back_end = on(*EVERY, "redis cluster")
every_back_end_that_is_purged = on("memory", *DATABASES)
every_database = on(*DATABASES)


@every_back_end
class TestEveryBackEnd(StoreContract):
    """The contract on each of ours."""


# Care


@every_back_end_that_is_purged
def test_purging_goes_in_bounded_steps(store: Store) -> None:
    for number in range(7):
        store.add_challenge(replace(CHALLENGE, id=f"c{number}"), "right")
        sign_in(store, session(f"s{number}", expires_at=later(60)))
    steps = []
    while forgotten := store.purge(now=later(600), limit=5):
        steps.append(forgotten)
    assert steps == [5, 5, 5, 5, 1]
    assert store.get_challenge("c0") is None
    assert store.list_sessions(USER.id, now=NOW) == []


@every_database
def test_a_session_that_is_used_while_it_is_purged_stays(
    store: SQLAlchemyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(store, session(expires_at=later(60)))
    look = store.database.all

    def look_too_early(statement: Any) -> Any:
        found = look(statement)
        if found:
            store.touch_session("5e55", seen_at=later(59), expires_at=later(900))  # by a request that began in time
        return found

    monkeypatch.setattr(store.database, "all", look_too_early)
    assert store.purge(now=later(60)) == 0
    assert store.get_session("5e55", now=later(60))


@every_database
def test_many_batches_are_purged_at_once(store: SQLAlchemyStore) -> None:
    rows = [
        {"id": f"c{n}", "identifier": "a@example.com", "state": "open", "attempts": 0, "sends": 1, "sent_at": 0}
        for n in range(1200)
    ]
    with store.database.engine.begin() as connection:
        connection.execute(store._challenges.insert(), [{**row, "expires_at": 1} for row in rows])
    assert store.purge(now=NOW, limit=1100) == 1100
    assert store.purge(now=NOW, limit=1100) == 100


# SQLite in memory: one connection, which threads take turns with


def test_a_database_in_memory_serves_one_thread_at_a_time() -> None:
    store = SQLAlchemyStore("sqlite://")

    def ten_sign_ins(number: int) -> None:
        for turn in range(10):
            sign_in(store, session(f"{number}-{turn}"))

    at_once(8, ten_sign_ins)
    assert len(store.list_sessions(USER.id, now=NOW)) == 80
    store.close()


# Redis: nothing is there for ever


@pytest.fixture
def redis_store(redis_url: str, request: pytest.FixtureRequest) -> Any:
    store = RedisStore(redis_url, prefix=f"test-{request.node.name}:")
    yield store
    for key in store.client.scan_iter(f"{store._prefix}*"):
        store.client.delete(key)
    store.close()


def test_a_challenge_in_redis_expires_an_hour_after_it_has_ended(redis_store: RedisStore) -> None:
    redis_store.add_challenge(CHALLENGE, "right")
    key = redis_store._challenge_key(CHALLENGE.id)
    assert 4_140_000 < redis_store.client.pttl(key) <= 4_200_000
    assert add_code(redis_store, expires_at=later(1260))
    try_code(redis_store, "second", now=later(61))
    assert 4_740_000 < redis_store.client.pttl(key) <= 4_800_000


def test_a_session_in_redis_expires_with_its_last_use(redis_store: RedisStore) -> None:
    sign_in(redis_store, session(expires_at=later(600)))
    key = redis_store._session_key("5e55")
    assert 540_000 < redis_store.client.pttl(key) <= 600_000
    redis_store.touch_session("5e55", seen_at=later(60), expires_at=later(960))
    redis_store.save_user(USER, now=later(60))
    assert 840_000 < redis_store.client.pttl(key) <= 900_000


def test_saving_a_user_in_redis_brings_no_expired_session_back(redis_store: RedisStore) -> None:
    sign_in(redis_store, session())
    redis_store.client.delete(redis_store._session_key("5e55"))  # as when its time is up, before the index knows
    redis_store.save_user(USER, now=later(60))
    assert redis_store.get_session("5e55", now=later(60)) is None
    assert redis_store.list_sessions(USER.id, now=later(60)) == []


def test_an_ended_session_leaves_the_index_in_redis_at_once(redis_store: RedisStore) -> None:
    sign_in(redis_store, session())
    assert redis_store.end_session("5e55")
    assert redis_store.client.zcard(redis_store._user_key(USER.id)) == 0


def test_the_index_of_a_user_in_redis_forgets_ended_sessions(redis_store: RedisStore) -> None:
    for number in range(20):
        now = later(1000 * number)
        record = session(f"s{number}", expires_at=now + timedelta(seconds=1500), ends_at=now + timedelta(seconds=3000))
        sign_in(redis_store, record, now=now)
    key = redis_store._user_key(USER.id)
    assert redis_store.client.zcard(key) == 2
    assert 2_940_000 < redis_store.client.pttl(key) <= 3_000_000


def test_the_index_of_a_user_in_redis_outlives_the_longest_session(redis_store: RedisStore) -> None:
    sign_in(redis_store, session("long", ends_at=later(5000)))
    sign_in(redis_store, session("short", ends_at=later(500), expires_at=later(500)))
    assert redis_store.client.pttl(redis_store._user_key(USER.id)) > 4_900_000


def test_everything_in_redis_is_under_the_prefix_and_expires(redis_store: RedisStore) -> None:
    before = set(redis_store.client.scan_iter("*"))
    sign_in(redis_store, session())
    redis_store.limits_storage().incr("key", 60)
    keys = {key for key in redis_store.client.scan_iter("*") if key.startswith(redis_store._prefix)}
    assert len(keys) == 5
    assert all(redis_store.client.pttl(key) > 0 for key in keys)
    others = {key for key in redis_store.client.scan_iter("*") if "5e55" in key or "LIMITER" in key} - keys - before
    assert not others


@pytest.mark.parametrize("decode_responses", [False, True])
def test_the_application_may_bring_its_client_of_redis(
    redis_url: str, redis_store: RedisStore, decode_responses: bool
) -> None:
    import redis

    with redis.Redis.from_url(redis_url, decode_responses=decode_responses) as client:
        store = RedisStore(client, prefix=redis_store._prefix)
        sign_in(store, session())
        assert what(store.get_session("5e55", now=NOW)) == what(session())
        assert [what(each) for each in store.list_sessions(USER.id, now=NOW)] == [what(session())]
        assert store.end_sessions(USER.id) == ["5e55"]
        store.close()
        assert client.ping()


def test_scripts_are_loaded_again_after_redis_has_lost_them(redis_store: RedisStore) -> None:
    redis_store.add_challenge(CHALLENGE, "right")
    redis_store.client.script_flush()
    assert try_code(redis_store, "right") is Outcome.ACCEPTED


# What has expired takes nobody's place


@pytest.mark.parametrize("store_url", EVERY, indirect=True)
def test_a_session_that_has_expired_ends_no_other_one(store: Store) -> None:
    store.add_session(session("older", created_at=later(-100)), now=later(-100))
    store.add_session(session("expired", created_at=later(-50), expires_at=later(-1)), now=later(-50))
    assert store.complete(verified(store), session("new"), now=NOW, max_sessions=2)
    assert {each.id for each in store.list_sessions(USER.id, now=NOW)} == {"older", "new"}


# Two at once where the engine is the application's, and where there was no session before


@pytest.mark.parametrize("store_url", SERVERS, indirect=True)
@pytest.mark.parametrize("engine", ["ours", "the application's"])
def test_two_first_sign_ins_at_once_leave_no_session_too_many(store_url: str, engine: str) -> None:
    own = sa.create_engine(store_url)
    store = SQLAlchemyStore(store_url if engine == "ours" else own)
    store.setup()
    run = uuid4().hex

    def person(at: int) -> User:
        return User(id=f"usr {run} {at}", email="ada@example.com")

    def prepare(at: int) -> Any:
        ids = [verified(store), verified(store)]
        return tuple(
            lambda id=id: store.complete(id, session(id, user=person(at)), now=NOW, max_sessions=1) for id in ids
        )

    answers = at_every_line(store, prepare)
    left = [store.count_sessions(person(at).id, now=NOW) for at in range(1, len(answers) + 1)]
    store.close()
    own.dispose()
    assert answers == [(True, True)] * len(answers)
    assert left == [1] * len(left), "two sign-ins did not see each other"


# Opening


def test_a_missing_driver_of_redis_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r"flask-chatbotkit-auth\[redis\]"):
        open_store("redis://localhost")


@pytest.mark.parametrize("make", [lambda: RedisStore("redis://host:port"), lambda: RedisStore(object())])  # type: ignore[arg-type]
def test_what_is_no_redis_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match="Redis"):
        make()


def test_the_scheme_of_the_url_chooses_the_store() -> None:
    assert isinstance(open_store("memory://"), MemoryStore)
    for url in ("redis://localhost", "rediss://localhost", "unix:///run/redis.sock"):
        assert isinstance(open_store(url), RedisStore)
    for url in ("sqlite:///x.db", "postgresql://localhost/x", "mysql://localhost/x", "mariadb://localhost/x"):
        assert isinstance(open_store(url), SQLAlchemyStore)


@pytest.mark.parametrize("name", ["stores.sqlalchemy.SQLAlchemyStore", "stores.redis.RedisStore"])
def test_a_store_is_found_by_its_whole_name(name: str) -> None:
    code = f"from flask_chatbotkit_auth import stores; print({name}.__name__)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.stdout.strip() == name.rpartition(".")[2], told.stderr
    assert not hasattr(stores, "mongo")
