"""Rate limits: the names and keys, the storage on the store's database with the *limits* library's own cases, and races."""

from __future__ import annotations

import hashlib
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import limits
import pytest
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from flask_chatbotkit_auth import ConfigurationError, RateLimited, ratelimit
from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.ratelimit import RateLimiter
from flask_chatbotkit_auth.remote import client_address, client_networks
from flask_chatbotkit_auth.stores import Store
from flask_chatbotkit_auth.stores.database import Database
from flask_chatbotkit_auth.stores.limits import SQLAlchemyStorage
from flask_chatbotkit_auth.stores.redis import RedisStore
from tests.support.apps import Clock
from tests.support.kinds import DATABASES, EVERY, SHARED
from tests.support.workers import Workers, at_once, forget_everything, opened

every_store = pytest.mark.parametrize("store_url", EVERY, indirect=True, scope="module")
every_shared_store = pytest.mark.parametrize("store_url", SHARED, indirect=True, scope="module")
every_database = pytest.mark.parametrize("store_url", DATABASES, indirect=True, scope="module")

MINUTE = limits.RateLimitItemPerMinute(10)


def keys() -> list[str | bytes]:
    return ["not a secret"]


class Seconds:
    """Seconds since the epoch, which pass only when told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def storage(store_url: str, seconds: Seconds) -> Iterator[SQLAlchemyStorage]:
    """An empty storage on a database, at a time that stands still."""
    database = Database(store_url)
    storage = SQLAlchemyStorage(database=database, clock=seconds)
    storage.reset()
    yield storage
    storage.reset()
    database.close()


# The limits of an application


@every_store
def test_a_limit_is_reached_and_says_for_how_long(store: Store) -> None:
    limiter = RateLimiter({"request:email": "2/15minutes"}, store.limits_storage(), keys)
    limiter.hit("request:email", "ada@example.com")
    limiter.hit("request:email", "ada@example.com")
    with pytest.raises(RateLimited) as caught:
        limiter.hit("request:email", "ada@example.com")
    assert 840 < caught.value.retry_after <= 900
    assert caught.value.limit == "request:email"
    limiter.hit("request:email", "bob@example.com")


@every_store
def test_a_refund_gives_back_one(store: Store) -> None:
    limiter = RateLimiter({"verify:ip": "2/hour"}, store.limits_storage(), keys)
    for _ in range(5):
        limiter.hit("verify:ip", "192.0.2.1")
        limiter.refund("verify:ip", "192.0.2.1")
    limiter.hit("verify:ip", "192.0.2.1")
    limiter.hit("verify:ip", "192.0.2.1")
    with pytest.raises(RateLimited):
        limiter.hit("verify:ip", "192.0.2.1")


@every_store
def test_a_refund_of_nothing_lets_nobody_pass_the_limit(store: Store) -> None:
    limiter = RateLimiter({"verify:ip": "1/hour"}, store.limits_storage(), keys)
    for _ in range(3):
        limiter.refund("verify:ip", "192.0.2.1")
    limiter.hit("verify:ip", "192.0.2.1")
    with pytest.raises(RateLimited):
        limiter.hit("verify:ip", "192.0.2.1")


@every_store
def test_a_count_can_be_cleared_under_an_earlier_secret_key_too(store: Store) -> None:
    storage = store.limits_storage()
    rates = {"verify:email": "1/hour;1/day"}
    before = RateLimiter(rates, storage, lambda: ["old"])
    after = RateLimiter(rates, storage, lambda: ["new", b"old"])
    before.hit("verify:email", "ada@example.com")
    after.hit("verify:email", "ada@example.com")
    after.clear("verify:email", "ada@example.com")
    before.hit("verify:email", "ada@example.com")
    after.hit("verify:email", "ada@example.com")


def test_several_limits_hold_together(clock: Clock) -> None:
    limiter = RateLimiter({"verify:email": "2/hour;3/day"}, MemoryStorage(), keys)
    passed = []
    for _ in range(3):
        for _ in range(3):
            try:
                limiter.hit("verify:email", "ada@example.com")
                passed.append(True)
            except RateLimited:
                passed.append(False)
        clock.advance(3600)
    assert passed == [True, True, False, True, False, False, False, False, False]


@every_store
def test_the_first_refusal_of_a_window_says_so(store: Store) -> None:
    limiter = RateLimiter({"verify:email": "1/hour"}, store.limits_storage(), keys)
    limiter.hit("verify:email", "ada@example.com")
    first = []
    for _ in range(3):
        with pytest.raises(RateLimited) as refused:
            limiter.hit("verify:email", "ada@example.com")
        first.append(refused.value.first)
    assert first == [True, False, False]


@every_store
def test_a_success_takes_its_own_count_back_in_each_of_several_limits(store: Store) -> None:
    limiter = RateLimiter({"verify:email": "2/hour;2/day"}, store.limits_storage(), keys)
    for _ in range(5):
        limiter.hit("verify:email", "ada@example.com")
        limiter.refund("verify:email", "ada@example.com")
    limiter.hit("verify:email", "ada@example.com")
    limiter.hit("verify:email", "ada@example.com")
    with pytest.raises(RateLimited):
        limiter.hit("verify:email", "ada@example.com")


def _passes(limiter: RateLimiter, addresses: list[str]) -> int:
    passed = 0
    for address in addresses:
        try:
            limiter.hit_client("request:ip", address)
            passed += 1
        except RateLimited:
            pass
    return passed


@pytest.mark.parametrize(
    ("addresses", "passed"),
    [
        ([f"192.0.2.1:{port}" for port in range(1024, 1084)], 30),
        ([f"[2001:db8::{number:x}]:443" for number in range(60)], 30),
        ([f"2001:db8:0:{number:x}::1" for number in range(120)], 60),  # a /56
        ([f"2001:db8:1:{number:x}00::1" for number in range(120)], 90),  # a /48
        ([f"192.0.2.{number}" for number in range(60)], 60),
    ],
)
def test_a_client_with_many_addresses_is_one_client(addresses: list[str], passed: int) -> None:
    assert _passes(RateLimiter({"request:ip": "30/hour"}, "memory://", keys), addresses) == passed


@every_store
def test_names_are_counted_apart(store: Store) -> None:
    limiter = RateLimiter({"verify:email": "1/hour", "request:email": "1/hour"}, store.limits_storage(), keys)
    limiter.hit("verify:email", "ada@example.com")
    limiter.hit("request:email", "ada@example.com")
    assert limiter.check()


def test_a_name_without_a_limit_lets_everything_pass() -> None:
    limiter = RateLimiter({"verify:ip": None}, "memory://", keys)
    for _ in range(200):
        limiter.hit("verify:ip", "192.0.2.1")
        limiter.hit("unknown", "192.0.2.1")
    limiter.refund("verify:ip", "192.0.2.1")
    limiter.clear("verify:ip", "192.0.2.1")


def test_no_storage_learns_an_address() -> None:
    storage = MemoryStorage()
    RateLimiter({"verify:email": "1/hour"}, storage, keys).hit("verify:email", "ada@example.com")
    assert len(storage.storage) == 1
    (key,) = storage.storage
    plain = hashlib.sha256(b"ada@example.com").hexdigest()
    assert "ada" not in key
    assert plain[:16] not in key
    RateLimiter({"verify:email": "1/hour"}, storage, lambda: ["another"]).hit("verify:email", "ada@example.com")
    assert len(storage.storage) == 2


@pytest.mark.parametrize(
    ("rates", "uri", "key"),
    [
        ({"verify:ip": "many"}, "memory://", "CHATBOTKIT_AUTH_RATE_LIMITS"),
        ({"verify:ip": "20/hour, many"}, "memory://", "CHATBOTKIT_AUTH_RATE_LIMITS"),
        ({}, "nonsense://", "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI"),
        ({}, "sqlalchemy+sqlite:nonsense", "sqlite"),
    ],
)
def test_a_wrong_setting_is_named(rates: dict[str, str], uri: str, key: str) -> None:
    with pytest.raises(ConfigurationError, match=key):
        RateLimiter(rates, uri, keys)


class Broken(MemoryStorage):
    """A storage that is out of reach."""

    STORAGE_SCHEME: list[str] = []  # noqa: RUF012  # the library declares it so

    def incr(self, key: str, expiry: float, amount: int = 1, **_unused: object) -> int:
        raise ValueError("gone")

    def clear(self, key: str) -> None:
        raise ValueError("gone")

    def get(self, key: str) -> int:
        raise ValueError("gone")


def test_what_cannot_be_counted_does_not_pass() -> None:
    with pytest.raises(StoreError, match="cannot be counted"):
        RateLimiter({"verify:ip": "1/hour"}, Broken(), keys).hit("verify:ip", "192.0.2.1")


def test_a_success_is_not_spoilt_by_a_count_that_cannot_be_taken_back() -> None:
    limiter = RateLimiter({"verify:ip": "1/hour"}, Broken(), keys)
    limiter.refund("verify:ip", "192.0.2.1")
    with pytest.raises(StoreError, match="cannot be cleared"):
        limiter.clear("verify:ip", "192.0.2.1")


def test_without_a_secret_key_nothing_is_counted() -> None:
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        RateLimiter({"verify:ip": "1/hour"}, "memory://", list).hit("verify:ip", "192.0.2.1")


@pytest.mark.parametrize(
    ("remote_addr", "address", "networks"),
    [
        ("192.0.2.1", "192.0.2.1", ["192.0.2.1"]),
        ("192.0.2.1:50000", "192.0.2.1", ["192.0.2.1"]),
        (
            "2001:db8:1:2:3:4:5:6",
            "2001:db8:1:2:3:4:5:6",
            ["2001:db8:1:2::/64", "2001:db8:1::/56", "2001:db8:1::/48"],
        ),
        ("[2001:db8::1]:443", "2001:db8::1", ["2001:db8::/64", "2001:db8::/56", "2001:db8::/48"]),
        ("[2001:db8::1]", "2001:db8::1", ["2001:db8::/64", "2001:db8::/56", "2001:db8::/48"]),
        ("::ffff:192.0.2.1", "192.0.2.1", ["192.0.2.1"]),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1", ["192.0.2.1"]),
        ("fe80::1%eth0", "fe80::1%eth0", ["fe80::/64", "fe80::/56", "fe80::/48"]),
        (None, None, ["unknown"]),
        ("", None, ["unknown"]),
        ("unix:", "unix:", ["unix:"]),
    ],
)
def test_a_client_is_counted_by_what_it_cannot_change(
    remote_addr: str | None, address: str | None, networks: list[str]
) -> None:
    assert client_address(remote_addr) == address
    assert [(network, times) for network, times in client_networks(remote_addr)] == [
        (network, number) for number, network in enumerate(networks, 1)
    ]


# The storage of the library on a database; its own cases for every storage, at a time that stands still


@every_database
def test_storage_by_its_uri(store_url: str) -> None:
    storage: Any = storage_from_string(f"sqlalchemy+{store_url}")
    assert isinstance(storage, SQLAlchemyStorage)
    assert storage.check()
    assert storage.incr("by uri", 60) == 1
    storage.clear("by uri")
    storage._database.close()


@every_database
def test_expiry_incr(storage: SQLAlchemyStorage, seconds: Seconds) -> None:
    storage.incr(MINUTE.key_for(), MINUTE.get_expiry())
    seconds.now += 60
    assert storage.get(MINUTE.key_for()) == 0
    assert storage.get_expiry(MINUTE.key_for()) == seconds.now
    assert storage.incr(MINUTE.key_for(), MINUTE.get_expiry()) == 1
    assert storage.get_expiry(MINUTE.key_for()) == seconds.now + 60


@every_database
def test_a_hit_never_prolongs_the_window(storage: SQLAlchemyStorage, seconds: Seconds) -> None:
    begun = seconds.now
    for _ in range(5):
        storage.incr("key", 60)
        seconds.now += 10
    assert storage.get("key") == 5
    assert storage.get_expiry("key") == begun + 60


@every_database
def test_incr_custom_amount(storage: SQLAlchemyStorage) -> None:
    assert storage.incr(MINUTE.key_for(), MINUTE.get_expiry(), amount=1) == 1
    assert storage.incr(MINUTE.key_for(), MINUTE.get_expiry(), amount=10) == 11


@every_database
def test_incr_as_older_versions_of_the_library_call_it(storage: SQLAlchemyStorage) -> None:
    assert storage.incr("key", 60, elastic_expiry=False, amount=2) == 2


@every_database
def test_what_is_taken_back_is_one_of_each_and_never_makes_less_than_none(
    storage: SQLAlchemyStorage, seconds: Seconds
) -> None:
    for amount, key in enumerate(("used up", "one", "two", "another")):
        storage.incr(key, 60, amount=amount)
    for _ in range(2):
        storage.take_back(["two", "one", "unknown", "used up"])
    assert [storage.get(each) for each in ("used up", "one", "two", "another", "unknown")] == [0, 0, 0, 3, 0]
    storage.take_back(["another"])
    assert storage.get("another") == 2
    seconds.now += 61
    storage.take_back(["another"])
    assert storage.incr("another", 60) == 1
    assert storage.incr("unknown", 60) == 1


@every_database
def test_storage_check(storage: SQLAlchemyStorage) -> None:
    assert storage.check()


def test_storage_check_of_a_database_out_of_reach() -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    assert not SQLAlchemyStorage(database=database).check()
    with pytest.raises(limits.errors.StorageError):
        SQLAlchemyStorage(database=database, wrap_exceptions=True).incr("key", 60)
    database.close()


@every_database
def test_storage_reset(storage: SQLAlchemyStorage) -> None:
    other = limits.RateLimitItemPerMinute(10, namespace="OTHER")
    for number in range(10):
        storage.incr(MINUTE.key_for(str(number)), MINUTE.get_expiry())
        storage.incr(other.key_for(str(number)), other.get_expiry())
    assert storage.reset() == 20
    assert storage.get(MINUTE.key_for("1")) == 0


@every_database
def test_storage_clear(storage: SQLAlchemyStorage) -> None:
    storage.incr(MINUTE.key_for(), MINUTE.get_expiry())
    assert storage.get(MINUTE.key_for()) == 1
    storage.clear(MINUTE.key_for())
    assert storage.get(MINUTE.key_for()) == 0


@every_database
def test_fixed_window(storage: SQLAlchemyStorage, seconds: Seconds) -> None:
    limiter = FixedWindowRateLimiter(storage)
    begun = seconds.now
    assert all(limiter.hit(MINUTE) for _ in range(10))
    seconds.now += 30
    assert not limiter.hit(MINUTE)
    assert limiter.get_window_stats(MINUTE).remaining == 0
    assert limiter.get_window_stats(MINUTE).reset_time == begun + 60
    seconds.now += 30
    assert limiter.hit(MINUTE)


@every_database
def test_fixed_window_empty_stats(storage: SQLAlchemyStorage, seconds: Seconds) -> None:
    stats = FixedWindowRateLimiter(storage).get_window_stats(MINUTE)
    assert (stats.remaining, stats.reset_time) == (10, seconds.now)


@every_database
def test_fixed_window_multiple_cost(storage: SQLAlchemyStorage) -> None:
    limiter = FixedWindowRateLimiter(storage)
    assert not limiter.hit(MINUTE, "k1", cost=11)
    assert limiter.hit(MINUTE, "k2", cost=5)
    assert limiter.get_window_stats(MINUTE, "k2").remaining == 5
    assert not limiter.test(MINUTE, "k2", cost=6)
    assert not limiter.hit(MINUTE, "k2", cost=6)


@every_database
def test_test_fixed_window(storage: SQLAlchemyStorage) -> None:
    limiter = FixedWindowRateLimiter(storage)
    two = limits.RateLimitItemPerHour(2)
    assert limiter.hit(two)
    assert limiter.test(two)
    assert limiter.hit(two)
    assert not limiter.test(two)
    assert not limiter.hit(two)


@every_database
def test_fixed_windows_alone_are_supported(storage: SQLAlchemyStorage) -> None:
    with pytest.raises(NotImplementedError):
        MovingWindowRateLimiter(storage)


@every_database
def test_concurrency_fixed_window(storage: SQLAlchemyStorage) -> None:
    limiter = FixedWindowRateLimiter(storage)
    five = limits.RateLimitItemPerMinute(5)
    assert at_once(100, lambda _: limiter.hit(five, "key")).count(True) == 5


@every_database
def test_keys_are_compared_byte_for_byte(storage: SQLAlchemyStorage) -> None:
    storage.incr("aé", 60)
    assert [storage.get(key) for key in ("aé", "AÉ", "ae")] == [1, 0, 0]


def test_a_database_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database("sqlite://")
    storage = SQLAlchemyStorage(database=database)
    storage.check()
    monkeypatch.setattr(database.engine.dialect, "name", "oracle")
    with pytest.raises(ConfigurationError, match="CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI"):
        storage.incr("key", 60)
    database.close()


def test_a_prefix_in_redis(redis_url: str) -> None:
    store = RedisStore(redis_url, prefix=f"test-{uuid.uuid4().hex}:")
    storage: Any = store.limits_storage()
    assert isinstance(storage, Storage)
    assert storage.incr("key", 10) == 1
    assert store.client.get(f"{store._prefix}limits/key") == "1"
    assert storage.get_expiry("key") <= time.time() + 10
    assert storage.reset() == 1
    store.close()


@pytest.mark.parametrize(
    ("scheme", "path", "error"), [("redis", "0", "TimeoutError"), ("redis+sentinel", "mymaster", "MasterNotFoundError")]
)
def test_a_redis_that_takes_a_command_and_keeps_quiet_is_given_up(
    monkeypatch: pytest.MonkeyPatch, scheme: str, path: str, error: str
) -> None:
    monkeypatch.setattr(ratelimit, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/{path}"
        limiter = RateLimiter({"verify:email": "5/minute"}, uri, keys)
        with pytest.raises(StoreError, match=rf"\({error}\): check that what CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI"):
            limiter.hit("verify:email", "key")


@pytest.mark.parametrize(
    "uri",
    [
        "redis://127.0.0.1:1/0?nosuch=1",
        "rediss://127.0.0.1:1/0?ssl_cert_reqs=nosuch",
        "redis+cluster://127.0.0.1:1",
        "nosuch://127.0.0.1:1",
    ],
)
def test_a_storage_that_cannot_be_opened_is_named_at_the_start(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI cannot be opened"):
        RateLimiter({"verify:email": "5/minute"}, uri, keys)


# Eight workers


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    workers = Workers(8)
    yield workers
    workers.close()


def hammer(start: Callable[[], object], url: str, prefix: str, number: int, limit: int) -> list[bool]:
    with opened(url, prefix) as store:
        limiter = RateLimiter({"verify:email": f"{limit}/hour", "verify:ip": "1000/hour"}, store.limits_storage(), keys)
        limiter.check()

        def one(_: int) -> list[bool]:
            passed = []
            for turn in range(4):
                try:
                    limiter.hit("verify:email", "ada@example.com")
                    passed.append(True)
                except RateLimited:
                    passed.append(False)
                # Another client's refunds, in between, change nothing.
                limiter.hit("verify:ip", f"192.0.2.{turn}")
                limiter.refund("verify:ip", f"192.0.2.{turn}")
            return passed

        start()
        return [each for passed in at_once(4, one) for each in passed]


@every_shared_store
@pytest.mark.parametrize("limit", [1, 20, 100])
def test_eight_workers_never_exceed_a_limit_by_one(store: Store, store_url: str, workers: Workers, limit: int) -> None:
    prefix = f"race-{uuid.uuid4().hex}:"
    passed = workers.run(hammer, store_url, prefix, limit)
    assert len(passed) == 128
    assert passed.count(True) == limit
    with opened(store_url, prefix) as used:
        forget_everything(used)
