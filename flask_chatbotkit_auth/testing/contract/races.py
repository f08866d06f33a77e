"""The cases about races: two callers at the same time, as threads and line by line."""

from __future__ import annotations

from typing import Any

from ...stores import Outcome, State, Store
from ...user import User
from .interleave import at_every_line, at_once
from .samples import ATTEMPTS, NOW, add_code, later, new_challenge, session, verified


def somebody(id: object) -> User:
    """Return a user who has no sessions of other tests."""
    return User(id=f"usr of {id}", email="ada@example.com")


class Races:
    """The cases about two callers."""

    def test_one_of_many_right_codes_is_accepted(self, store: Store) -> None:
        id = new_challenge(store)
        outcomes = at_once(16, lambda _: store.try_code(id, ["right"], now=NOW, max_attempts=ATTEMPTS).outcome)
        assert outcomes.count(Outcome.ACCEPTED) == 1, "a code was accepted more than once, or never"
        assert outcomes.count(Outcome.SPENT) == 15

    def test_no_wrong_code_of_many_goes_uncounted(self, store: Store) -> None:
        id = new_challenge(store)
        outcomes = at_once(16, lambda _: store.try_code(id, ["wrong"], now=NOW, max_attempts=ATTEMPTS).outcome)
        assert outcomes.count(Outcome.WRONG) == ATTEMPTS
        challenge = store.get_challenge(id)
        assert challenge
        assert challenge.attempts == ATTEMPTS

    def test_a_code_that_is_tried_twice_is_accepted_once(self, store: Store) -> None:
        def prepare(at: int) -> Any:
            id = new_challenge(store)
            right = lambda: store.try_code(id, ["right"], now=NOW, max_attempts=ATTEMPTS).outcome  # noqa: E731
            return right, right

        for outcomes in at_every_line(store, prepare):
            assert sorted(each.value for each in outcomes) == ["accepted", "spent"], (
                "try_code read, was overtaken, and wrote without comparing"
            )

    def test_a_wrong_code_that_is_overtaken_is_counted(self, store: Store) -> None:
        ids = []

        def prepare(at: int) -> Any:
            ids.append(id := new_challenge(store))
            wrong = lambda: store.try_code(id, ["wrong"], now=NOW, max_attempts=ATTEMPTS).attempts  # noqa: E731
            return wrong, wrong

        pairs = at_every_line(store, prepare)
        assert [sorted(pair) for pair in pairs] == [[1, 2]] * len(pairs), "a wrong code was not counted"
        assert len(pairs) > 1

    def test_a_challenge_that_is_completed_twice_makes_one_session(self, store: Store) -> None:
        ids: list[str] = []

        def prepare(at: int) -> Any:
            ids.append(id := verified(store))
            return (
                lambda: store.complete(id, session(f"{id}-a", user=somebody(id)), now=NOW),
                lambda: store.complete(id, session(f"{id}-b", user=somebody(id)), now=NOW),
            )

        for number, answers in enumerate(at_every_line(store, prepare)):
            assert sorted(answers) == [False, True], "complete compared nothing before it wrote"
            made = [store.get_session(f"{ids[number]}-{each}", now=NOW) is not None for each in "ab"]
            assert sorted(made) == [False, True]

    def test_nobody_sees_a_half_of_completing(self, store: Store) -> None:
        def prepare(at: int) -> Any:
            id = verified(store)

            def look() -> tuple[bool, bool, bool]:
                before = store.get_session(id, now=NOW) is not None
                challenge = store.get_challenge(id)
                assert challenge
                return before, challenge.state is State.COMPLETED, store.get_session(id, now=NOW) is not None

            return lambda: store.complete(id, session(id, user=somebody(id)), now=NOW), look

        for done, (before, completed, after) in at_every_line(store, prepare):
            assert done
            assert completed or not before, "complete is torn: there is a session, and the challenge is not used up"
            assert after or not completed, "complete is torn: the challenge is used up, and there is no session"

    def test_two_sign_ins_at_once_leave_no_session_too_many(self, store: Store) -> None:
        def prepare(at: int) -> Any:
            user = somebody(at)
            store.add_session(session(f"before {at}", user=user, created_at=later(-1)), now=NOW)
            ids = [verified(store), verified(store)]
            return tuple(
                lambda id=id: store.complete(id, session(id, user=user), now=NOW, max_sessions=2) for id in ids
            )

        for number, answers in enumerate(at_every_line(store, prepare), 1):
            assert answers == (True, True)
            assert store.count_sessions(somebody(number).id, now=NOW) == 2, "two sign-ins did not see each other"

    def test_two_callers_that_spare_a_session_each_do_not_end_both(self, store: Store) -> None:
        def prepare(at: int) -> Any:
            ids = [f"first {at}", f"second {at}"]
            for id in ids:
                store.add_session(session(id, user=somebody(at)), now=NOW)
            return tuple(lambda id=id: store.end_oldest_sessions(somebody(at).id, keep=1, spared=id) for id in ids)

        for number, answers in enumerate(at_every_line(store, prepare), 1):
            assert len([*answers[0], *answers[1]]) == 1, "two sessions ended each other"
            assert store.count_sessions(somebody(number).id, now=NOW) == 1

    def test_one_of_two_claims_a_challenge(self, store: Store) -> None:
        def prepare(at: int) -> Any:
            id = verified(store)
            claim = lambda: store.claim(id, now=NOW, max_tries=10)  # noqa: E731
            return claim, claim

        for answers in at_every_line(store, prepare):
            assert sorted(answers) == [False, True]

    def test_one_of_two_adds_a_code(self, store: Store) -> None:
        def prepare(at: int) -> Any:
            id = new_challenge(store)
            add = lambda: add_code(store, "second", id=id)  # noqa: E731
            return add, add

        for answers in at_every_line(store, prepare):
            assert sorted(answers) == [False, True]

    def test_one_of_two_holds_a_lease(self, store: Store) -> None:
        def prepare(at: int) -> Any:
            take = lambda: store.lease(f"lease {at}", now=NOW, until=later(30))  # noqa: E731
            return take, take

        for answers in at_every_line(store, prepare):
            assert sorted(answers) == [False, True]

    def test_two_sign_ins_of_one_person_are_both_listed(self, store: Store) -> None:
        def prepare(at: int) -> Any:
            return (
                lambda: store.add_session(session(f"first {at}", user=somebody(at)), now=NOW),
                lambda: store.add_session(session(f"second {at}", user=somebody(at)), now=NOW),
            )

        for at in range(1, len(at_every_line(store, prepare)) + 1):
            assert store.count_sessions(somebody(at).id, now=NOW) == 2
