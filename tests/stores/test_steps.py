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
from tests.support.workers import at_once

pytestmark = pytest.mark.parametrize(
    "store_url", ["memory", "sqlite", "postgresql", "mariadb", "redis"], indirect=True, scope="module"
)

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


# Challenges


def test_what_a_challenge_is_for_is_remembered(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    assert store.get_challenge(CHALLENGE.id) == CHALLENGE


def test_tries_to_complete_are_counted_to_the_cap(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    assert not store.count_try(CHALLENGE.id, now=NOW, max_tries=10)  # not verified yet
    store.try_code(CHALLENGE.id, ["right"], now=NOW, max_attempts=5)
    counted = at_once(14, lambda _: store.count_try(CHALLENGE.id, now=NOW, max_tries=10))
    assert counted.count(True) == 10
    challenge = store.get_challenge(CHALLENGE.id)
    assert challenge
    assert (challenge.tries, challenge.state) == (10, State.VERIFIED)
    assert not store.count_try(CHALLENGE.id, now=later(600), max_tries=99)
    assert not store.count_try("unknown", now=NOW, max_tries=10)


def test_one_of_many_claims_a_challenge(store: Store) -> None:
    verified(store)
    claims = at_once(8, lambda _: store.claim(CHALLENGE.id, now=NOW, max_tries=10))
    assert claims.count(True) == 1
    assert state(store) is State.CLAIMED
    assert not store.complete(CHALLENGE.id, session(), now=NOW)
    attempt = store.try_code(CHALLENGE.id, ["right"], now=NOW, max_attempts=5)
    assert (attempt.outcome, attempt.again) == (Outcome.SPENT, False)
    assert store.finish(CHALLENGE.id)
    assert not store.finish(CHALLENGE.id)
    assert state(store) is State.COMPLETED
    store.unclaim(CHALLENGE.id)
    assert state(store) is State.COMPLETED


def test_a_claim_that_is_given_back_can_be_made_again_up_to_the_cap(store: Store) -> None:
    verified(store)
    for _ in range(3):
        assert store.claim(CHALLENGE.id, now=NOW, max_tries=3)
        store.unclaim(CHALLENGE.id)
        assert state(store) is State.VERIFIED
    assert not store.claim(CHALLENGE.id, now=NOW, max_tries=3)
    assert not store.finish(CHALLENGE.id)
    assert not store.claim(CHALLENGE.id, now=later(600), max_tries=9)


def test_a_challenge_is_ended_wherever_it_is(store: Store) -> None:
    for id in ("open", "verified", "claimed"):
        store.add_challenge(replace(CHALLENGE, id=id), "right")
        if id != "open":
            store.try_code(id, ["right"], now=NOW, max_attempts=5)
        if id == "claimed":
            store.claim(id, now=NOW, max_tries=9)
        assert store.end_challenge(id)
        assert not store.end_challenge(id)
        assert store.try_code(id, ["right"], now=NOW, max_attempts=5).outcome is Outcome.SPENT
        assert not store.complete(id, session(), now=NOW)
    store.unclaim("claimed")
    assert state(store, "claimed") is State.COMPLETED
    assert not store.end_challenge("unknown")


def test_every_pending_challenge_of_an_address_is_ended(store: Store) -> None:
    for id in ("a", "b", "done"):
        verified(store, id)
    store.end_challenge("done")
    store.add_challenge(replace(CHALLENGE, id="late", expires_at=later(1)), "right")
    store.add_challenge(replace(CHALLENGE, id="other", identifier="eve@example.com"), "right")
    assert store.end_challenges(CHALLENGE.identifier, now=later(2)) == 2
    assert [state(store, id) for id in ("a", "b")] == [State.COMPLETED] * 2
    assert state(store, "other") is State.OPEN
    assert store.end_challenges(CHALLENGE.identifier, now=later(2)) == 0


def test_a_challenge_is_accepted_without_a_code_once(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    outcomes = at_once(8, lambda _: store.accept_challenge(CHALLENGE.id, now=NOW, max_attempts=5).outcome)
    assert sorted(each.value for each in outcomes) == ["accepted", *["spent"] * 7]
    assert store.accept_challenge(CHALLENGE.id, now=NOW, max_attempts=5).again
    assert not store.accept_challenge(CHALLENGE.id, now=later(600), max_attempts=5).again
    assert store.try_code(CHALLENGE.id, ["right"], now=NOW, max_attempts=5).again
    assert store.complete(CHALLENGE.id, session(), now=NOW)
    assert not store.accept_challenge(CHALLENGE.id, now=NOW, max_attempts=5).again


def test_no_challenge_is_accepted_after_its_end(store: Store) -> None:
    store.add_challenge(CHALLENGE, "right")
    store.try_code(CHALLENGE.id, ["wrong"], now=NOW, max_attempts=5)
    assert store.accept_challenge(CHALLENGE.id, now=NOW, max_attempts=1).outcome is Outcome.EXHAUSTED
    assert store.accept_challenge(CHALLENGE.id, now=later(600), max_attempts=5).outcome is Outcome.EXPIRED
    assert store.accept_challenge("unknown", now=NOW, max_attempts=5).outcome is Outcome.MISSING
    assert store.try_code(CHALLENGE.id, [], now=NOW, max_attempts=5).outcome is Outcome.WRONG


# Sessions


def test_everything_of_a_session_is_remembered(store: Store) -> None:
    record = session(
        identifier="ada@example.com",
        audience="shop",
        adapter="contact",
        client="app",
        name="Ada's phone",
        method="passkey",
        proved_at=NOW,
    )
    store.add_session(record, now=NOW)
    found = store.get_session(record.id, now=NOW)
    assert found
    assert {**vars(found), "user": 0} == {**vars(record), "user": 0}
    assert [each.id for each in store.list_sessions(USER.id, now=NOW)] == [record.id]


def test_a_session_is_stamped_once(store: Store) -> None:
    store.add_session(session(), now=NOW)
    for audience in ("shop", "another"):
        store.stamp_session("5e55", audience=audience, adapter="partner")
    store.stamp_session("unknown", audience="shop", adapter="partner")
    found = store.get_session("5e55", now=NOW)
    assert found
    assert (found.audience, found.adapter) == ("shop", "partner")
    assert store.get_session("unknown", now=NOW) is None


def test_the_newest_sessions_are_listed_and_all_are_counted(store: Store) -> None:
    for number in range(5):
        store.add_session(session(f"s{number}", seen_at=later(number)), now=NOW)
    store.add_session(session("over", expires_at=later(10)), now=NOW)
    assert [each.id for each in store.list_sessions(USER.id, now=later(10), limit=2)] == ["s4", "s3"]
    assert store.count_sessions(USER.id, now=later(10)) == 5
    assert store.count_sessions("unknown", now=NOW) == 0


def test_a_session_of_somebody_else_is_not_ended(store: Store) -> None:
    store.add_session(session(), now=NOW)
    assert not store.end_session("5e55", user_id="usr_2")
    assert store.get_session("5e55", now=NOW)
    assert store.end_session("5e55", user_id=USER.id)
    assert not store.end_session("5e55", user_id=USER.id)


def test_the_sessions_that_were_opened_first_make_room(store: Store) -> None:
    for number in range(5):
        store.add_session(session(f"s{number}", created_at=later(number), seen_at=later(-number)), now=NOW)
    assert store.end_oldest_sessions(USER.id, keep=9) == []
    assert sorted(store.end_oldest_sessions(USER.id, keep=3)) == ["s0", "s1"]
    assert sorted(each.id for each in store.list_sessions(USER.id, now=NOW)) == ["s2", "s3", "s4"]


def test_every_session_of_everybody_can_be_ended(store: Store) -> None:
    store.add_session(session("a"), now=NOW)
    store.add_session(session("b", user=User(id="usr_2", email="eve@example.com")), now=NOW)
    assert store.end_all_sessions() == 2
    assert store.end_all_sessions() == 0
    assert store.list_sessions(USER.id, now=NOW) == []


# Leases


def test_one_of_many_holds_a_lease(store: Store) -> None:
    name = "provision:" + "0" * 64
    held = at_once(8, lambda _: store.lease(name, now=NOW, until=later(30)))
    assert held.count(True) == 1
    assert not store.lease(name, now=later(29), until=later(59))
    assert store.lease(name, now=later(30), until=later(60))
    store.release(name, until=later(30))  # of the one before, whose time was over
    assert not store.lease(name, now=later(31), until=later(61))
    store.release(name, until=later(60))
    assert store.lease(name, now=later(31), until=later(61))


def test_what_is_spent_works_once(store: Store) -> None:
    assert store.spend("nonce", now=NOW, until=later(600))
    assert not store.spend("nonce", now=later(599), until=later(999))
    assert store.spend("another", now=NOW, until=later(600))
    store.purge(now=later(601))
    assert store.spend("nonce", now=later(601), until=later(999))


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
    passkeys.mark_passkeys(USER.id, gone_at=None)
    assert passkeys.list_passkeys(USER.id) == [PASSKEY]
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
