"""Claims, tries, leases, passkeys and events: the same cases for every back end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_chatbotkit_auth import User
from flask_chatbotkit_auth.stores import Challenge, Outcome, SessionRecord, State, Store
from flask_chatbotkit_auth.stores.events import Event, EventStore, event_id
from flask_chatbotkit_auth.stores.passkeys import Added, Passkey, PasskeyStore, Used
from tests.support.kinds import EVERY
from tests.support.workers import at_once

pytestmark = pytest.mark.parametrize("store_url", EVERY, indirect=True, scope="module")

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
CHALLENGE = Challenge(
    "c0ffee", "ada@example.com", NOW, NOW + timedelta(minutes=10), purpose="deletion", user_id="usr_1"
)
USER = User(id="usr_1", email="ada@example.com")


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def session(id: str = "5e55", **changes: Any) -> SessionRecord:
    record = SessionRecord(
        id=id, user=USER, created_at=NOW, seen_at=NOW, refreshed_at=NOW, ends_at=later(9999), expires_at=later(999)
    )
    return replace(record, **changes)


def verified(store: Store, id: str = CHALLENGE.id) -> None:
    store.add_challenge(replace(CHALLENGE, id=id), "right")
    assert store.try_code(id, ["right"], now=NOW, max_attempts=5).outcome is Outcome.ACCEPTED


def state(store: Store, id: str = CHALLENGE.id) -> State:
    challenge = store.get_challenge(id)
    assert challenge
    return challenge.state


# Passkeys


PASSKEY = Passkey(
    id="a" * 64,
    credential_id="Y3JlZA",
    user_id=USER.id,
    public_key="a2V5",
    created_at=NOW,
    sign_count=3,
    name="Ada's phone",
    aaguid="00000000-0000-0000-0000-000000000000",
    transports=("internal", "hybrid"),
)


@pytest.fixture
def passkeys(store: Store) -> PasskeyStore:
    assert isinstance(store, PasskeyStore)
    return store


def add(store: PasskeyStore, passkey: Passkey = PASSKEY, nonce: str = "", limit: int = 20) -> Added:
    return store.add_passkey(passkey, nonce=nonce or f"add {passkey.id}", nonce_until=later(600), now=NOW, limit=limit)


def use(store: PasskeyStore, nonce: str, sign_count: int, record: SessionRecord, **changes: Any) -> Used:
    passkey_id = changes.pop("passkey_id", PASSKEY.id)
    arguments = {"sign_count": sign_count, "backed_up": True, "nonce_until": later(600), "now": NOW, **changes}
    return store.use_passkey(passkey_id, record, nonce=nonce, **arguments)


def test_a_passkey_is_remembered(passkeys: PasskeyStore) -> None:
    assert add(passkeys) is Added.ADDED
    assert passkeys.get_passkey(PASSKEY.id) == PASSKEY
    assert passkeys.get_passkey("b" * 64) is None
    assert passkeys.list_passkeys(USER.id) == [PASSKEY]
    assert passkeys.list_passkeys("usr_2") == []


def test_a_passkey_is_added_once(passkeys: PasskeyStore) -> None:
    assert add(passkeys, nonce="n") is Added.ADDED
    assert add(passkeys, replace(PASSKEY, id="b" * 64), nonce="n") is Added.REPLAYED
    assert add(passkeys, replace(PASSKEY, user_id="usr_2"), nonce="m") is Added.TAKEN
    assert add(passkeys, replace(PASSKEY, id="c" * 64), nonce="m") is Added.REPLAYED  # every answer spends the nonce
    assert add(passkeys, replace(PASSKEY, id="d" * 64), nonce="o", limit=1) is Added.FULL
    assert passkeys.list_passkeys(USER.id) == [PASSKEY]


def test_no_more_passkeys_than_one_may_have(passkeys: PasskeyStore) -> None:
    assert add(passkeys) is Added.ADDED
    more = [replace(PASSKEY, id=f"{number}" * 64) for number in range(6)]
    answers = at_once(6, lambda number: add(passkeys, more[number], limit=3))
    assert answers.count(Added.ADDED) == 2
    assert len(passkeys.list_passkeys(USER.id)) == 3


def test_one_assertion_is_one_session(store: Store, passkeys: PasskeyStore) -> None:
    add(passkeys)
    answers = at_once(8, lambda number: use(passkeys, "n", 4, session(f"s{number}")))
    assert answers.count(Used.ACCEPTED) == 1
    assert answers.count(Used.REPLAYED) == 7
    assert store.count_sessions(USER.id, now=NOW) == 1
    assert passkeys.get_passkey(PASSKEY.id) == replace(PASSKEY, sign_count=4, backed_up=True, used_at=NOW)


def test_a_nonce_stays_spent_for_a_worker_whose_clock_is_slow(store: Store, passkeys: PasskeyStore) -> None:
    add(passkeys)
    # The clock of the first worker says that the challenge lasts a millisecond more.
    assert use(passkeys, "n", 4, session("a"), now=later(599.999)) is Used.ACCEPTED
    answers = {use(passkeys, "n", 5 + number, session(f"s{number}")) for number in range(200)}
    assert answers == {Used.REPLAYED}


def test_the_counter_of_a_device_bound_passkey_must_go_up(store: Store, passkeys: PasskeyStore) -> None:
    add(passkeys)
    assert use(passkeys, "1", 3, session("a")) is Used.CLONED
    assert use(passkeys, "2", 0, session("b")) is Used.CLONED
    assert use(passkeys, "3", 4, session("c")) is Used.ACCEPTED
    synced = replace(PASSKEY, id="b" * 64, synced=True)
    add(passkeys, synced)
    assert use(passkeys, "4", 1, session("d"), passkey_id=synced.id) is Used.ACCEPTED
    without = replace(PASSKEY, id="c" * 64, sign_count=0)
    add(passkeys, without)
    assert use(passkeys, "5", 0, session("e"), passkey_id=without.id) is Used.ACCEPTED
    assert sorted(each.id for each in store.list_sessions(USER.id, now=NOW)) == ["c", "d", "e"]


def test_a_passkey_opens_no_other_account(store: Store, passkeys: PasskeyStore) -> None:
    add(passkeys)
    eve = session(user=User(id="usr_2", email="eve@example.com"))
    assert use(passkeys, "1", 4, eve) is Used.MISSING
    assert use(passkeys, "1", 4, session()) is Used.REPLAYED
    assert use(passkeys, "2", 4, session(), passkey_id="f" * 64) is Used.MISSING
    assert store.list_sessions("usr_2", now=NOW) == store.list_sessions(USER.id, now=NOW) == []


def test_a_passkey_is_renamed_and_removed_by_its_owner(passkeys: PasskeyStore) -> None:
    add(passkeys)
    assert not passkeys.rename_passkey(PASSKEY.id, "Mine", user_id="usr_2")
    assert passkeys.rename_passkey(PASSKEY.id, "Mine", user_id=USER.id)
    assert passkeys.rename_passkey(PASSKEY.id, "Mine", user_id=USER.id)
    assert passkeys.list_passkeys(USER.id) == [replace(PASSKEY, name="Mine")]
    assert not passkeys.remove_passkey(PASSKEY.id, user_id="usr_2")
    assert passkeys.remove_passkey(PASSKEY.id, user_id=USER.id)
    assert not passkeys.remove_passkey(PASSKEY.id, user_id=USER.id)
    assert passkeys.list_passkeys(USER.id) == []


def test_all_passkeys_of_an_account_are_removed(passkeys: PasskeyStore) -> None:
    add(passkeys)
    add(passkeys, replace(PASSKEY, id="b" * 64))
    add(passkeys, replace(PASSKEY, id="c" * 64, user_id="usr_2"))
    assert passkeys.remove_passkeys(USER.id) == 2
    assert passkeys.remove_passkeys(USER.id) == 0
    assert passkeys.get_passkey(PASSKEY.id) is None
    assert len(passkeys.list_passkeys("usr_2")) == 1


def test_since_when_an_account_is_gone_is_noted_once_and_taken_back(passkeys: PasskeyStore) -> None:
    add(passkeys)
    passkeys.mark_passkeys(USER.id, gone_at=NOW)
    passkeys.mark_passkeys(USER.id, gone_at=later(60))
    passkeys.mark_passkeys("unknown", gone_at=NOW)
    assert passkeys.list_passkeys(USER.id) == [replace(PASSKEY, gone_at=NOW)]
    assert passkeys.gone_passkeys(before=later(1)) == [USER.id]
    assert passkeys.gone_passkeys(before=NOW) == []
    assert use(passkeys, "1", 4, session()) is Used.GONE
    assert use(passkeys, "1", 4, session()) is Used.REPLAYED
    passkeys.mark_passkeys(USER.id, gone_at=None)
    assert passkeys.list_passkeys(USER.id) == [PASSKEY]
    assert use(passkeys, "2", 4, session()) is Used.ACCEPTED
    assert passkeys.gone_passkeys(before=later(99)) == []


# Events


@pytest.fixture
def log(store: Store) -> EventStore:
    assert isinstance(store, EventStore)
    return store


def event(seconds: float = 0, **changes: Any) -> Event:
    at = later(seconds)
    return replace(Event(id=event_id(at), at=at, kind="sign_in", user_id=USER.id), **changes)


def test_an_event_is_remembered_whole(log: EventStore) -> None:
    whole = event(
        outcome="refused",
        address_key="f" * 64,
        address="a•••@example.com",
        ip="192.0.2.1",
        device="Firefox on Linux",
        method="code",
        session_id="5e55",
        detail={"reason": "denied", "n": 1},
    )
    log.add_event(whole)
    assert log.events() == [whole]


def test_events_are_found_by_what_is_asked_the_newest_first(log: EventStore) -> None:
    events = [event(number, kind=("sign_in", "sign_out")[number % 2]) for number in range(6)]
    foreign = event(9, user_id="usr_2", address_key="e" * 64)
    for each in (*events, foreign):
        log.add_event(each)
    newest = events[::-1]
    assert log.events(user_id=USER.id) == newest
    assert log.events() == [foreign, *newest]
    assert log.events(user_id=USER.id, kind="sign_out") == newest[::2]
    assert log.events(since=later(4)) == [foreign, *newest[:2]]
    assert log.events(address_key="e" * 64) == [foreign]
    assert log.events(address_key="e" * 64, user_id=USER.id) == []
    first_page = log.events(user_id=USER.id, limit=4)
    assert first_page == newest[:4]
    assert log.events(user_id=USER.id, before=first_page[-1].id, limit=4) == newest[4:]


def test_of_events_at_one_moment_each_page_has_its_own(log: EventStore) -> None:
    events = [event() for _ in range(5)]
    for each in events:
        log.add_event(each)
    first = log.events(limit=3)
    rest = log.events(before=first[-1].id)
    assert sorted(each.id for each in (*first, *rest)) == sorted(each.id for each in events)


def test_age_alone_forgets_events(log: EventStore) -> None:
    for number in range(5):
        log.add_event(event(number, address_key="e" * 64))
    assert log.purge_events(before=later(4), limit=3) == 3
    assert log.purge_events(before=later(4)) == 1
    assert log.purge_events(before=later(4)) == 0
    assert len(log.events()) == len(log.events(user_id=USER.id)) == len(log.events(address_key="e" * 64)) == 1


def test_the_event_of_a_sign_in_joins_it(store: Store, log: EventStore, passkeys: PasskeyStore) -> None:
    verified(store)
    of_code, of_passkey = event(), event(1, method="passkey")
    assert store.complete(CHALLENGE.id, session("a"), now=NOW, event=of_code)
    assert not store.complete(CHALLENGE.id, session("b"), now=NOW, event=event(2))
    add(passkeys)
    assert use(passkeys, "n", 3, session("c"), event=event(3)) is Used.CLONED
    assert use(passkeys, "m", 4, session("d"), event=of_passkey) is Used.ACCEPTED
    assert log.events(user_id=USER.id) == [of_passkey, of_code]
