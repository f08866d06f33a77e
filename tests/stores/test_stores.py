"""The store contract: the same cases for every back end, then what is special about one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_chatbotkit_auth import ConfigurationError, MemoryStore, User
from flask_chatbotkit_auth.stores import Challenge, Outcome, SessionRecord, State, Store, open_store
from flask_chatbotkit_auth.stores.base import MAX_CODES
from flask_chatbotkit_auth.stores.redis import RedisStore
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
from tests.support.workers import at_once

BACK_ENDS = ("memory", "sqlite", "postgresql", "mariadb", "redis")


def on(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("store_url", kinds, indirect=True, scope="module")


every_back_end = on(*BACK_ENDS)
every_back_end_that_is_purged = on("memory", "sqlite", "postgresql", "mariadb")
every_database = on("sqlite", "postgresql", "mariadb")

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
    return NOW + timedelta(seconds=seconds)


def session(id: str = "5e55", user: User = USER, **changes: Any) -> SessionRecord:
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


def add_code(store: Store, digest: str = "second", **changes: Any) -> bool:
    arguments: dict[str, Any] = {
        "now": later(60),
        "expires_at": later(60) + LIFETIME,
        "sent_before": later(30),
        "max_sends": 4,
        "max_attempts": ATTEMPTS,
        **changes,
    }
    return store.add_code(CHALLENGE.id, digest, **arguments)


def try_code(store: Store, *digests: str, now: datetime = NOW) -> Outcome:
    return store.try_code(CHALLENGE.id, digests, now=now, max_attempts=ATTEMPTS).outcome


def sign_in(store: Store, record: SessionRecord, *, now: datetime = NOW) -> None:
    """Put a session into the store by the only way there is."""
    challenge = replace(CHALLENGE, id=f"for {record.id}", sent_at=now, expires_at=now + LIFETIME)
    store.add_challenge(challenge, "right")
    store.try_code(challenge.id, ["right"], now=now, max_attempts=ATTEMPTS)
    assert store.complete(challenge.id, record, now=now)


def what(record: SessionRecord | None) -> dict[str, Any] | None:
    """Everything of a record; users alone are equal when their ids are."""
    return {**vars(record), "user": record.user.to_json()} if record else None


# Challenges


@every_back_end
def test_a_challenge_is_remembered(store: Store) -> None:
    challenge = replace(CHALLENGE, identifier="ünï@exämple.com", attempts=2, sends=3)
    store.add_challenge(challenge, "right")
    assert store.get_challenge(challenge.id) == challenge


@every_back_end
def test_an_unknown_challenge_is_none(store: Store) -> None:
    assert store.get_challenge("unknown") is None
    assert try_code(store, "right") is Outcome.MISSING
    store.withdraw_code("unknown")
    assert store.get_challenge("unknown") is None


@every_back_end
def test_an_expired_challenge_is_still_told_from_an_unknown_one(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    assert try_code(store, "right", now=later(601)) is Outcome.EXPIRED
    assert store.get_challenge(CHALLENGE.id) == CHALLENGE


@every_back_end
def test_a_right_code_is_known_again_until_the_challenge_is_completed(store: Store) -> None:
    def again(*digests: str, now: datetime = NOW) -> bool:
        attempt = store.try_code(CHALLENGE.id, digests, now=now, max_attempts=ATTEMPTS)
        return attempt.again

    store.add_challenge(CHALLENGE, "first")
    assert add_code(store, "second")
    assert not again("first")  # this one opens it
    assert [again("first"), again("second"), again("wrong", "second")] == [True, True, True]
    assert [again("wrong"), again("first", now=later(600))] == [False, False]
    assert store.get_challenge(CHALLENGE.id).attempts == 0  # type: ignore[union-attr]
    assert store.complete(CHALLENGE.id, session(), now=NOW)
    assert not again("first")


@every_back_end
def test_the_right_code_works_once(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    assert try_code(store, "right") is Outcome.ACCEPTED
    assert try_code(store, "right") is Outcome.SPENT
    challenge = store.get_challenge(CHALLENGE.id)
    assert challenge == replace(CHALLENGE, state=State.VERIFIED)


@every_back_end
def test_wrong_codes_are_counted_until_the_challenge_ends(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    attempts = [store.try_code(CHALLENGE.id, ["wrong"], now=NOW, max_attempts=ATTEMPTS) for _ in range(ATTEMPTS)]
    assert [(each.outcome, each.attempts) for each in attempts] == [(Outcome.WRONG, n + 1) for n in range(ATTEMPTS)]
    refused = store.try_code(CHALLENGE.id, ["right"], now=NOW, max_attempts=ATTEMPTS)
    assert (refused.outcome, refused.attempts) == (Outcome.EXHAUSTED, ATTEMPTS)
    challenge = store.get_challenge(CHALLENGE.id)
    assert challenge
    assert challenge.attempts == ATTEMPTS


@every_back_end
def test_an_accepted_code_does_not_count_as_an_attempt(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    assert try_code(store, "wrong") is Outcome.WRONG
    attempt = store.try_code(CHALLENGE.id, ["right"], now=NOW, max_attempts=ATTEMPTS)
    assert (attempt.outcome, attempt.attempts) == (Outcome.ACCEPTED, 1)


@every_back_end
def test_a_code_is_recognised_under_any_of_the_keys(store: Store) -> None:
    store.add_challenge(CHALLENGE, "under the old key")
    assert try_code(store, "under the new key", "under the old key") is Outcome.ACCEPTED


@every_back_end
def test_a_code_stops_at_the_moment_of_its_expiry(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    assert try_code(store, "wrong", now=later(599.999)) is Outcome.WRONG
    assert try_code(store, "right", now=later(600)) is Outcome.EXPIRED


@every_back_end
def test_ids_and_digests_are_compared_byte_for_byte(store: Store) -> None:
    store.add_challenge(CHALLENGE, "aé")
    assert store.get_challenge("C0FFEE") is None
    assert store.try_code("C0FFEE", ["aé"], now=NOW, max_attempts=ATTEMPTS).outcome is Outcome.MISSING
    assert try_code(store, "AÉ") is Outcome.WRONG
    assert try_code(store, "ae") is Outcome.WRONG


# More codes


@every_back_end
def test_another_code_keeps_the_earlier_ones_and_the_count(store: Store) -> None:
    store.add_challenge(CHALLENGE, "first")
    assert try_code(store, "wrong") is Outcome.WRONG
    assert add_code(store)
    expected = replace(CHALLENGE, sent_at=later(60), expires_at=later(660), sends=2, attempts=1)
    assert store.get_challenge(CHALLENGE.id) == expected
    assert try_code(store, "first", now=later(61)) is Outcome.ACCEPTED


@every_back_end
def test_each_code_has_its_own_expiry(store: Store) -> None:
    store.add_challenge(CHALLENGE, "first")
    assert add_code(store)
    assert try_code(store, "first", now=later(600)) is Outcome.WRONG
    assert try_code(store, "second", now=later(600)) is Outcome.ACCEPTED


@every_back_end
def test_the_newest_codes_work(store: Store) -> None:
    store.add_challenge(CHALLENGE, "code 0")
    for number in range(1, MAX_CODES + 1):
        assert add_code(store, f"code {number}", sent_before=later(60), max_sends=9)
    assert try_code(store, "code 0", now=later(61)) is Outcome.WRONG
    assert try_code(store, "code 1", now=later(61)) is Outcome.ACCEPTED


@every_back_end
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sent_before": later(-0.001)}, id="cooldown"),
        pytest.param({"max_sends": 1}, id="enough-sent"),
        pytest.param({"max_attempts": 1}, id="exhausted"),
        pytest.param({"now": later(600)}, id="expired"),
    ],
)
def test_no_code_is_added_out_of_turn(store: Store, changes: dict[str, Any]) -> None:
    store.add_challenge(CHALLENGE, "first")
    try_code(store, "wrong")
    assert not add_code(store, **changes)
    assert store.get_challenge(CHALLENGE.id) == replace(CHALLENGE, attempts=1)
    assert try_code(store, "second") is Outcome.WRONG


@every_back_end
def test_no_code_is_added_to_a_challenge_that_is_verified_or_unknown(store: Store) -> None:
    assert not add_code(store)
    store.add_challenge(CHALLENGE, "first")
    try_code(store, "first")
    assert not add_code(store)


@every_back_end
def test_a_code_that_could_not_be_sent_costs_nothing(store: Store) -> None:
    store.add_challenge(CHALLENGE, "first")
    store.withdraw_code(CHALLENGE.id)
    assert add_code(store, now=later(1), sent_before=later(-29), max_sends=1)
    assert try_code(store, "first", now=later(2)) is Outcome.ACCEPTED


@every_back_end
def test_the_count_of_codes_never_goes_below_zero(store: Store) -> None:
    store.add_challenge(CHALLENGE, "first")
    for _ in range(3):
        store.withdraw_code(CHALLENGE.id)
    challenge = store.get_challenge(CHALLENGE.id)
    assert challenge
    assert challenge.sends == 0


# Completing


@every_back_end
def test_a_verified_challenge_is_completed_once(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    assert not store.complete(CHALLENGE.id, session("early"), now=NOW)
    try_code(store, "right")
    assert store.complete(CHALLENGE.id, session("first"), now=NOW)
    assert not store.complete(CHALLENGE.id, session("second"), now=NOW)
    assert [each.id for each in store.list_sessions(USER.id, now=NOW)] == ["first"]
    assert store.get_session("early", now=NOW) is None
    assert store.get_session("second", now=NOW) is None
    challenge = store.get_challenge(CHALLENGE.id)
    assert challenge
    assert challenge.state is State.COMPLETED
    assert try_code(store, "right") is Outcome.SPENT


@every_back_end
def test_completing_is_possible_within_the_lifetime_only(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    try_code(store, "right")
    assert not store.complete(CHALLENGE.id, session(), now=later(600))
    assert not store.complete("unknown", session(), now=NOW)
    assert store.complete(CHALLENGE.id, session(), now=later(599))


# Sessions


@every_back_end
def test_a_session_is_remembered_whole(store: Store) -> None:
    record = session()
    sign_in(store, record)
    assert what(store.get_session(record.id, now=NOW)) == what(record)


@every_back_end
def test_a_session_needs_neither_address_nor_browser(store: Store) -> None:
    record = session(user=User(id="usr_2", email="b@example.com"), ip=None, user_agent=None)
    sign_in(store, record)
    assert what(store.get_session(record.id, now=NOW)) == what(record)


@every_back_end
def test_a_large_record_is_kept_whole(store: Store) -> None:
    record = session(user=replace(USER, meta={"notes": "ß" * 100_000}))
    sign_in(store, record)
    assert what(store.get_session(record.id, now=NOW)) == what(record)


@every_back_end
def test_a_session_ends_at_its_expiry(store: Store) -> None:
    sign_in(store, session(expires_at=later(60)))
    assert store.get_session("5e55", now=later(59.999))
    assert store.get_session("5e55", now=later(60)) is None
    assert store.list_sessions(USER.id, now=later(60)) == []


@every_back_end
def test_sessions_are_listed_by_last_use(store: Store) -> None:
    for id, seen in (("old", 1), ("new", 3), ("middle", 2)):
        sign_in(store, session(id, seen_at=later(seen)))
    sign_in(store, session("other", user=replace(USER, id="usr_2")))
    assert [each.id for each in store.list_sessions(USER.id, now=NOW)] == ["new", "middle", "old"]
    assert store.list_sessions("unknown", now=NOW) == []


@every_back_end
def test_use_prolongs_a_session(store: Store) -> None:
    sign_in(store, session(expires_at=later(60)))
    store.touch_session("5e55", seen_at=later(50), expires_at=later(110))
    assert what(store.get_session("5e55", now=later(100))) == what(session(seen_at=later(50), expires_at=later(110)))


@every_back_end
def test_use_never_brings_a_session_back(store: Store) -> None:
    sign_in(store, session(expires_at=later(60)))
    store.touch_session("5e55", seen_at=later(60), expires_at=later(120))
    assert store.get_session("5e55", now=later(60)) is None
    store.end_session("5e55")
    store.touch_session("5e55", seen_at=NOW, expires_at=later(120))
    assert store.get_session("5e55", now=NOW) is None


@every_back_end
def test_one_caller_refreshes_until_the_claim_runs_out(store: Store) -> None:
    sign_in(store, session())

    def claim(now: float, refreshed_before: float) -> bool:
        return store.claim_refresh(
            "5e55", now=later(now), refreshed_before=later(refreshed_before), claim_until=later(now + 15)
        )

    assert not claim(10, 0)  # not due
    assert claim(10, 1)
    assert not claim(24.999, 1)
    assert claim(25, 1)
    assert not store.claim_refresh("unknown", now=NOW, refreshed_before=later(9), claim_until=later(9))


@every_back_end
def test_a_saved_user_shows_in_every_session_of_theirs(store: Store) -> None:
    other = User(id="usr_2", email="b@example.com", name="B")
    for id, user in (("a", USER), ("b", USER), ("c", other)):
        sign_in(store, session(id, user=user))
    assert store.claim_refresh("a", now=NOW, refreshed_before=later(1), claim_until=later(99))
    changed = replace(USER, name="Countess", meta={"plan": "free"})
    store.save_user(changed, now=later(5))
    for id in ("a", "b"):
        assert what(store.get_session(id, now=NOW)) == what(session(id, user=changed, refreshed_at=later(5)))
    assert what(store.get_session("c", now=NOW)) == what(session("c", user=other))
    # Whoever had the claim is done.
    assert store.claim_refresh("a", now=later(6), refreshed_before=later(6), claim_until=later(99))
    store.save_user(User(id="unknown", email="x@example.com"), now=NOW)


@every_back_end
def test_a_session_can_be_ended(store: Store) -> None:
    sign_in(store, session())
    assert store.end_session("5e55")
    assert not store.end_session("5e55")
    assert store.get_session("5e55", now=NOW) is None
    assert store.list_sessions(USER.id, now=NOW) == []


@every_back_end
def test_all_sessions_but_one_can_be_ended(store: Store) -> None:
    for id in ("a", "b", "c"):
        sign_in(store, session(id))
    sign_in(store, session("other", user=replace(USER, id="usr_2")))
    assert sorted(store.end_sessions(USER.id, keep="b")) == ["a", "c"]
    assert [each.id for each in store.list_sessions(USER.id, now=NOW)] == ["b"]
    assert store.end_sessions(USER.id) == ["b"]
    assert store.end_sessions(USER.id) == []
    assert store.get_session("other", now=NOW)


# Care


@every_back_end
def test_setting_up_again_changes_nothing(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    store.setup()
    store.ping()
    assert store.get_challenge(CHALLENGE.id) == CHALLENGE


@every_back_end
def test_a_closed_store_opens_again(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    store.close()
    assert store.get_challenge(CHALLENGE.id) == CHALLENGE


@every_back_end
def test_purging_leaves_what_still_lasts(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    sign_in(store, session())
    assert store.purge(now=later(599)) == 0
    assert store.get_challenge(CHALLENGE.id)
    assert store.get_session("5e55", now=NOW)


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


@every_back_end
def test_limits_are_counted_in_the_store(store: Store) -> None:
    storage = store.limits_storage()
    assert [storage.incr("key", 60), storage.incr("key", 60)] == [1, 2]
    assert storage.check()
    assert store.limits_storage().get("key") == (0 if isinstance(store, MemoryStore) else 2)


@every_back_end
def test_threads_share_a_store(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    outcomes = at_once(16, lambda _: try_code(store, "right"))
    assert sorted(each.value for each in outcomes) == ["accepted", *["spent"] * 15]


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
