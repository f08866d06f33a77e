"""The cases about claims: tries of completing, claims, ends, a proof without a code, leases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ...stores import Outcome, State, Store
from ...stores.records import CLAIM_LASTS
from ...user import User
from .interleave import at_once
from .samples import (
    CHALLENGE,
    NOW,
    USER,
    later,
    session,
    state,
    verified,
)


class Claims:
    """The cases about claims and leases."""

    def test_what_a_challenge_is_for_is_remembered(self, store: Store) -> None:
        challenge = replace(CHALLENGE, purpose="deletion", user_id="usr_1")
        store.add_challenge(challenge, "right")
        assert store.get_challenge(CHALLENGE.id) == challenge

    def test_tries_to_complete_are_counted_to_the_cap(self, store: Store) -> None:
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

    def test_one_of_many_claims_a_challenge(self, store: Store) -> None:
        verified(store, CHALLENGE.id)
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

    def test_a_claim_that_is_given_back_can_be_made_again_up_to_the_cap(self, store: Store) -> None:
        verified(store, CHALLENGE.id)
        for _ in range(3):
            assert store.claim(CHALLENGE.id, now=NOW, max_tries=3)
            store.unclaim(CHALLENGE.id)
            assert state(store) is State.VERIFIED
        assert not store.claim(CHALLENGE.id, now=NOW, max_tries=3)
        assert not store.finish(CHALLENGE.id)
        assert not store.claim(CHALLENGE.id, now=later(600), max_tries=9)

    def test_a_claim_that_nobody_gives_back_runs_out(self, store: Store) -> None:
        verified(store, CHALLENGE.id)
        assert store.claim(CHALLENGE.id, now=NOW, max_tries=10)
        over = NOW + CLAIM_LASTS
        before = over - timedelta(milliseconds=1)
        assert not store.count_try(CHALLENGE.id, now=before, max_tries=10)
        assert not store.complete(CHALLENGE.id, session(), now=before)
        assert store.try_code(CHALLENGE.id, ["right"], now=over, max_attempts=5).again
        assert store.accept_challenge(CHALLENGE.id, now=over, max_attempts=5).again
        claims = at_once(8, lambda _: store.claim(CHALLENGE.id, now=over, max_tries=10))
        assert claims.count(True) == 1
        assert store.complete(CHALLENGE.id, session(), now=over + CLAIM_LASTS)
        assert not store.finish(CHALLENGE.id)

    def test_a_challenge_is_ended_wherever_it_is(self, store: Store) -> None:
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

    def test_every_pending_challenge_of_an_address_is_ended(self, store: Store) -> None:
        for id in ("a", "b", "done"):
            verified(store, id)
        store.end_challenge("done")
        store.add_challenge(replace(CHALLENGE, id="late", expires_at=later(1)), "right")
        store.add_challenge(replace(CHALLENGE, id="other", identifier="eve@example.com"), "right")
        assert store.end_challenges(CHALLENGE.identifier, now=later(2)) == 2
        assert [state(store, id) for id in ("a", "b")] == [State.COMPLETED] * 2
        assert state(store, "other") is State.OPEN
        assert store.end_challenges(CHALLENGE.identifier, now=later(2)) == 0

    def test_a_challenge_is_accepted_without_a_code_once(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "right")
        outcomes = at_once(8, lambda _: store.accept_challenge(CHALLENGE.id, now=NOW, max_attempts=5).outcome)
        assert sorted(each.value for each in outcomes) == ["accepted", *["spent"] * 7]
        assert store.accept_challenge(CHALLENGE.id, now=NOW, max_attempts=5).again
        assert not store.accept_challenge(CHALLENGE.id, now=later(600), max_attempts=5).again
        assert store.try_code(CHALLENGE.id, ["right"], now=NOW, max_attempts=5).again
        assert store.complete(CHALLENGE.id, session(), now=NOW)
        assert not store.accept_challenge(CHALLENGE.id, now=NOW, max_attempts=5).again

    def test_no_challenge_is_accepted_after_its_end(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "right")
        store.try_code(CHALLENGE.id, ["wrong"], now=NOW, max_attempts=5)
        assert store.accept_challenge(CHALLENGE.id, now=NOW, max_attempts=1).outcome is Outcome.EXHAUSTED
        assert store.accept_challenge(CHALLENGE.id, now=later(600), max_attempts=5).outcome is Outcome.EXPIRED
        assert store.accept_challenge("unknown", now=NOW, max_attempts=5).outcome is Outcome.MISSING
        assert store.try_code(CHALLENGE.id, [], now=NOW, max_attempts=5).outcome is Outcome.WRONG

    def test_everything_of_a_session_is_remembered(self, store: Store) -> None:
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

    def test_a_session_is_stamped_once(self, store: Store) -> None:
        store.add_session(session(), now=NOW)
        for audience in ("shop", "another"):
            store.stamp_session("5e55", audience=audience, adapter="partner")
        store.stamp_session("unknown", audience="shop", adapter="partner")
        found = store.get_session("5e55", now=NOW)
        assert found
        assert (found.audience, found.adapter) == ("shop", "partner")
        assert store.get_session("unknown", now=NOW) is None

    def test_the_newest_sessions_are_listed_and_all_are_counted(self, store: Store) -> None:
        for number in range(5):
            store.add_session(session(f"s{number}", seen_at=later(number)), now=NOW)
        store.add_session(session("over", expires_at=later(10)), now=NOW)
        assert [each.id for each in store.list_sessions(USER.id, now=later(10), limit=2)] == ["s4", "s3"]
        assert store.count_sessions(USER.id, now=later(10)) == 5
        assert store.count_sessions("unknown", now=NOW) == 0

    def test_a_session_of_somebody_else_is_not_ended(self, store: Store) -> None:
        store.add_session(session(), now=NOW)
        assert not store.end_session("5e55", user_id="usr_2")
        assert store.get_session("5e55", now=NOW)
        assert store.end_session("5e55", user_id=USER.id)
        assert not store.end_session("5e55", user_id=USER.id)

    def test_the_sessions_that_were_opened_first_make_room(self, store: Store) -> None:
        for number in range(5):
            store.add_session(session(f"s{number}", created_at=later(number), seen_at=later(-number)), now=NOW)
        assert store.end_oldest_sessions(USER.id, keep=9) == []
        assert sorted(store.end_oldest_sessions(USER.id, keep=3)) == ["s0", "s1"]
        assert sorted(each.id for each in store.list_sessions(USER.id, now=NOW)) == ["s2", "s3", "s4"]

    def test_a_session_that_is_spared_stays_and_takes_a_place(self, store: Store) -> None:
        for number in range(4):
            store.add_session(session(f"s{number}", created_at=later(number)), now=NOW)
        # The clock of its worker may be slow.
        assert sorted(store.end_oldest_sessions(USER.id, keep=2, spared="s0")) == ["s1", "s2"]
        # One that has ended meanwhile takes no place.
        assert store.end_oldest_sessions(USER.id, keep=2, spared="s1") == []
        assert sorted(each.id for each in store.list_sessions(USER.id, now=NOW)) == ["s0", "s3"]

    def test_a_session_that_has_expired_takes_no_place(self, store: Store) -> None:
        for number in range(3):
            store.add_session(session(f"s{number}", created_at=later(number)), now=NOW)
        store.add_session(session("over", created_at=later(9), expires_at=later(10)), now=NOW)
        assert store.end_oldest_sessions(USER.id, keep=3, now=later(10)) == []
        assert store.end_oldest_sessions(USER.id, keep=2, now=later(10)) == ["s0"]
        assert sorted(each.id for each in store.list_sessions(USER.id, now=later(10))) == ["s1", "s2"]

    def test_completing_ends_what_was_opened_first(self, store: Store) -> None:
        for number in range(4):
            store.add_session(session(f"s{number}", created_at=later(number)), now=NOW)
        store.add_session(session("of somebody else", user=User(id="usr_2", email="eve@example.com")), now=NOW)
        for id, most in (("none for this", 2), ("fits", 5)):
            # A challenge that is used up, or not there, ends nothing.
            assert not store.complete(id, session(id), now=NOW, max_sessions=most)
        assert store.complete(verified(store, "fits"), session("fits"), now=NOW, max_sessions=5)
        assert store.count_sessions(USER.id, now=NOW) == 5
        # The new one stays, though others are younger by the clocks of their workers.
        assert store.complete(verified(store, "too many"), session("too many"), now=NOW, max_sessions=3)
        assert sorted(each.id for each in store.list_sessions(USER.id, now=NOW)) == ["s2", "s3", "too many"]
        assert store.complete(verified(store, "alone"), session("alone"), now=NOW, max_sessions=1)
        assert [each.id for each in store.list_sessions(USER.id, now=NOW)] == ["alone"]
        assert store.count_sessions("usr_2", now=NOW) == 1

    def test_every_session_of_everybody_can_be_ended(self, store: Store) -> None:
        store.add_session(session("a"), now=NOW)
        store.add_session(session("b", user=User(id="usr_2", email="eve@example.com")), now=NOW)
        assert store.end_all_sessions() == 2
        assert store.end_all_sessions() == 0
        assert store.list_sessions(USER.id, now=NOW) == []

    def test_one_of_many_holds_a_lease(self, store: Store) -> None:
        name = "provision:" + "0" * 64
        held = at_once(8, lambda _: store.lease(name, now=NOW, until=later(30)))
        assert held.count(True) == 1
        assert not store.lease(name, now=later(29), until=later(59))
        assert store.lease(name, now=later(30), until=later(60))
        store.release(name, until=later(30))  # of the one before, whose time was over
        assert not store.lease(name, now=later(31), until=later(61))
        store.release(name, until=later(60))
        assert store.lease(name, now=later(31), until=later(61))

    def test_what_is_spent_works_once(self, store: Store) -> None:
        assert store.spend("nonce", now=NOW, until=later(600))
        assert not store.spend("nonce", now=later(599), until=later(999))
        assert store.spend("another", now=NOW, until=later(600))
        store.purge(now=later(601))
        assert store.spend("nonce", now=later(601), until=later(999))
