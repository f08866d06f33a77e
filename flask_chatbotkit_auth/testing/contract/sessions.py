"""The cases about sessions, and about the store as a whole."""

from __future__ import annotations

from dataclasses import replace

from ...stores import MemoryStore, Store
from ...user import User
from .interleave import at_once
from .samples import (
    CHALLENGE,
    NOW,
    USER,
    later,
    session,
    sign_in,
    try_code,
    what,
)


class Sessions:
    """The cases about sessions."""

    def test_a_session_is_remembered_whole(self, store: Store) -> None:
        record = session()
        sign_in(store, record)
        assert what(store.get_session(record.id, now=NOW)) == what(record)

    def test_a_session_needs_neither_address_nor_browser(self, store: Store) -> None:
        record = session(user=User(id="usr_2", email="b@example.com"), ip=None, user_agent=None)
        sign_in(store, record)
        assert what(store.get_session(record.id, now=NOW)) == what(record)

    def test_a_large_record_is_kept_whole(self, store: Store) -> None:
        record = session(user=replace(USER, meta={"notes": "ß" * 100_000}))
        sign_in(store, record)
        assert what(store.get_session(record.id, now=NOW)) == what(record)

    def test_a_session_ends_at_its_expiry(self, store: Store) -> None:
        sign_in(store, session(expires_at=later(60)))
        assert store.get_session("5e55", now=later(59.999))
        assert store.get_session("5e55", now=later(60)) is None
        assert store.list_sessions(USER.id, now=later(60)) == []

    def test_sessions_are_listed_by_last_use(self, store: Store) -> None:
        for id, seen in (("old", 1), ("new", 3), ("middle", 2)):
            sign_in(store, session(id, seen_at=later(seen)))
        sign_in(store, session("other", user=replace(USER, id="usr_2")))
        assert [each.id for each in store.list_sessions(USER.id, now=NOW)] == ["new", "middle", "old"]
        assert store.list_sessions("unknown", now=NOW) == []

    def test_use_prolongs_a_session(self, store: Store) -> None:
        sign_in(store, session(expires_at=later(60)))
        store.touch_session("5e55", seen_at=later(50), expires_at=later(110))
        assert what(store.get_session("5e55", now=later(100))) == what(
            session(seen_at=later(50), expires_at=later(110))
        )

    def test_use_notes_the_address_where_one_is_given(self, store: Store) -> None:
        sign_in(store, session(ip="2001:db8::1"))
        for given, kept in ((None, "2001:db8::1"), ("192.0.2.7", "192.0.2.7"), (None, "192.0.2.7")):
            store.touch_session("5e55", seen_at=later(50), expires_at=later(500), ip=given)
            found = store.get_session("5e55", now=later(60))
            assert found
            assert found.ip == kept

    def test_use_never_brings_a_session_back(self, store: Store) -> None:
        sign_in(store, session(expires_at=later(60)))
        store.touch_session("5e55", seen_at=later(60), expires_at=later(120))
        assert store.get_session("5e55", now=later(60)) is None
        store.end_session("5e55")
        store.touch_session("5e55", seen_at=NOW, expires_at=later(120))
        assert store.get_session("5e55", now=NOW) is None

    def test_one_caller_refreshes_until_the_claim_runs_out(self, store: Store) -> None:
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

    def test_a_saved_user_shows_in_every_session_of_theirs(self, store: Store) -> None:
        other = User(id="usr_2", email="b@example.com", name="B")
        for id, user in (("a", USER), ("b", USER), ("c", other)):
            sign_in(store, session(id, user=user))
        assert store.claim_refresh("a", now=NOW, refreshed_before=later(1), claim_until=later(99))
        changed = replace(USER, name="Countess", meta={"plan": "free"})
        store.save_user(changed, now=later(5))
        for id in ("a", "b"):
            assert what(store.get_session(id, now=NOW)) == what(session(id, user=changed, refreshed_at=later(5)))
        assert what(store.get_session("c", now=NOW)) == what(session("c", user=other))
        # The holder of the claim has finished.
        assert store.claim_refresh("a", now=later(6), refreshed_before=later(6), claim_until=later(99))
        store.save_user(User(id="unknown", email="x@example.com"), now=NOW)

    def test_a_session_can_be_ended(self, store: Store) -> None:
        sign_in(store, session())
        assert store.end_session("5e55")
        assert not store.end_session("5e55")
        assert store.get_session("5e55", now=NOW) is None
        assert store.list_sessions(USER.id, now=NOW) == []

    def test_all_sessions_but_one_can_be_ended(self, store: Store) -> None:
        for id in ("a", "b", "c"):
            sign_in(store, session(id))
        sign_in(store, session("other", user=replace(USER, id="usr_2")))
        assert sorted(store.end_sessions(USER.id, keep="b")) == ["a", "c"]
        assert [each.id for each in store.list_sessions(USER.id, now=NOW)] == ["b"]
        assert store.end_sessions(USER.id) == ["b"]
        assert store.end_sessions(USER.id) == []
        assert store.get_session("other", now=NOW)

    def test_setting_up_again_changes_nothing(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "right")
        store.setup()
        store.ping()
        assert store.get_challenge(CHALLENGE.id) == CHALLENGE

    def test_a_closed_store_opens_again(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "right")
        store.close()
        assert store.get_challenge(CHALLENGE.id) == CHALLENGE

    def test_purging_leaves_what_still_lasts(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "right")
        sign_in(store, session())
        assert store.purge(now=later(599)) == 0
        assert store.get_challenge(CHALLENGE.id)
        assert store.get_session("5e55", now=NOW)

    def test_limits_are_counted_in_the_store(self, store: Store) -> None:
        storage = store.limits_storage()
        assert [storage.incr("key", 60), storage.incr("key", 60)] == [1, 2]
        assert storage.check()
        assert store.limits_storage().get("key") == (0 if isinstance(store, MemoryStore) else 2)

    def test_threads_share_a_store(self, store: Store) -> None:
        store.add_challenge(CHALLENGE, "right")
        outcomes = at_once(16, lambda _: try_code(store, "right"))
        assert sorted(each.value for each in outcomes) == ["accepted", *["spent"] * 15]
