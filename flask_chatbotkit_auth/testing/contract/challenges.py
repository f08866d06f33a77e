"""The cases about challenges: codes, counts, resending, completing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from ...stores import MAX_CODES, Outcome, State, Store
from .samples import (
    ATTEMPTS,
    CHALLENGE,
    NOW,
    USER,
    add_code,
    later,
    session,
    try_code,
)


class Challenges:
    """The cases about challenges."""

    def test_a_challenge_is_remembered(self, store: Store) -> None:
        challenge = replace(CHALLENGE, identifier="ünï@exämple.com", attempts=2, sends=3)
        store.add_challenge(challenge, "right")
        assert store.get_challenge(challenge.id) == challenge

    def test_an_unknown_challenge_is_none(self, store: Store) -> None:
        assert store.get_challenge("unknown") is None
        assert try_code(store, "right") is Outcome.MISSING
        store.withdraw_code("unknown")
        assert store.get_challenge("unknown") is None

    def test_an_expired_challenge_is_still_told_from_an_unknown_one(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "right")
        assert try_code(store, "right", now=later(601)) is Outcome.EXPIRED
        assert store.get_challenge(CHALLENGE.id) == CHALLENGE

    def test_a_right_code_is_known_again_until_the_challenge_is_completed(self, store: Store) -> None:
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

    def test_the_right_code_works_once(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "right")
        assert try_code(store, "right") is Outcome.ACCEPTED
        assert try_code(store, "right") is Outcome.SPENT
        challenge = store.get_challenge(CHALLENGE.id)
        assert challenge == replace(CHALLENGE, state=State.VERIFIED)

    def test_wrong_codes_are_counted_until_the_challenge_ends(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "right")
        attempts = [store.try_code(CHALLENGE.id, ["wrong"], now=NOW, max_attempts=ATTEMPTS) for _ in range(ATTEMPTS)]
        assert [(each.outcome, each.attempts) for each in attempts] == [(Outcome.WRONG, n + 1) for n in range(ATTEMPTS)]
        refused = store.try_code(CHALLENGE.id, ["right"], now=NOW, max_attempts=ATTEMPTS)
        assert (refused.outcome, refused.attempts) == (Outcome.EXHAUSTED, ATTEMPTS)
        challenge = store.get_challenge(CHALLENGE.id)
        assert challenge
        assert challenge.attempts == ATTEMPTS

    def test_an_accepted_code_does_not_count_as_an_attempt(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "right")
        assert try_code(store, "wrong") is Outcome.WRONG
        attempt = store.try_code(CHALLENGE.id, ["right"], now=NOW, max_attempts=ATTEMPTS)
        assert (attempt.outcome, attempt.attempts) == (Outcome.ACCEPTED, 1)

    def test_a_code_is_recognised_under_any_of_the_keys(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "under the old key")
        assert try_code(store, "under the new key", "under the old key") is Outcome.ACCEPTED

    def test_a_code_stops_at_the_moment_of_its_expiry(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "right")
        assert try_code(store, "wrong", now=later(599.999)) is Outcome.WRONG
        assert try_code(store, "right", now=later(600)) is Outcome.EXPIRED

    def test_ids_and_digests_are_compared_byte_for_byte(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "aé")
        assert store.get_challenge("C0FFEE") is None
        assert store.try_code("C0FFEE", ["aé"], now=NOW, max_attempts=ATTEMPTS).outcome is Outcome.MISSING
        assert try_code(store, "AÉ") is Outcome.WRONG
        assert try_code(store, "ae") is Outcome.WRONG

    def test_another_code_keeps_the_earlier_ones_and_the_count(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "first")
        assert try_code(store, "wrong") is Outcome.WRONG
        assert add_code(store)
        expected = replace(CHALLENGE, sent_at=later(60), expires_at=later(660), sends=2, attempts=1)
        assert store.get_challenge(CHALLENGE.id) == expected
        assert try_code(store, "first", now=later(61)) is Outcome.ACCEPTED

    def test_each_code_has_its_own_expiry(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "first")
        assert add_code(store)
        assert try_code(store, "first", now=later(600)) is Outcome.WRONG
        assert try_code(store, "second", now=later(600)) is Outcome.ACCEPTED

    def test_the_newest_codes_work(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "code 0")
        for number in range(1, MAX_CODES + 1):
            assert add_code(store, f"code {number}", sent_before=later(60), max_sends=9)
        assert try_code(store, "code 0", now=later(61)) is Outcome.WRONG
        assert try_code(store, "code 1", now=later(61)) is Outcome.ACCEPTED

    def test_no_code_is_added_out_of_turn(self, store: Store) -> None:
        too_early: dict[str, dict[str, Any]] = {
            "cooldown": {"sent_before": later(-0.001)},
            "enough sent": {"max_sends": 1},
            "exhausted": {"max_attempts": 1},
            "expired": {"now": later(600)},
        }
        for id, changes in too_early.items():
            store.add_challenge(replace(CHALLENGE, id=id), "first")
            store.try_code(id, ["wrong"], now=NOW, max_attempts=ATTEMPTS)
            assert not add_code(store, id=id, **changes), id
            assert store.get_challenge(id) == replace(CHALLENGE, id=id, attempts=1)
            assert store.try_code(id, ["second"], now=NOW, max_attempts=ATTEMPTS).outcome is Outcome.WRONG

    def test_no_code_is_added_to_a_challenge_that_is_verified_or_unknown(self, store: Store) -> None:
        assert not add_code(store)
        store.add_challenge(CHALLENGE, "first")
        try_code(store, "first")
        assert not add_code(store)

    def test_a_code_that_could_not_be_sent_costs_nothing(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "first")
        store.withdraw_code(CHALLENGE.id)
        assert add_code(store, now=later(1), sent_before=later(-29), max_sends=1)
        assert try_code(store, "first", now=later(2)) is Outcome.ACCEPTED

    def test_the_count_of_codes_never_goes_below_zero(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "first")
        for _ in range(3):
            store.withdraw_code(CHALLENGE.id)
        challenge = store.get_challenge(CHALLENGE.id)
        assert challenge
        assert challenge.sends == 0

    def test_a_verified_challenge_is_completed_once(self, store: Store) -> None:
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

    def test_completing_is_possible_within_the_lifetime_only(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "right")
        try_code(store, "right")
        assert not store.complete(CHALLENGE.id, session(), now=later(600))
        assert not store.complete("unknown", session(), now=NOW)
        assert store.complete(CHALLENGE.id, session(), now=later(599))
