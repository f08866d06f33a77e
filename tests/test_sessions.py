"""The rows of the registry: whose they are, which address they were opened for, how many, and what a refresh does."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_login import login_user

from flask_chatbotkit_auth import ChatBotKitAuth, MemoryStore, User, session_ended, user_deleted
from flask_chatbotkit_auth.stores import SessionRecord, Store
from flask_chatbotkit_auth.stores.passkeys import Used
from flask_chatbotkit_auth.testing import Sandbox, SoftwareAuthenticator
from tests.support.apps import Clock, MakeApp
from tests.support.kinds import EVERY
from tests.support.sites import ADA, DAY, SignIn, Worker, auth_of, copy_of, fetches, is_in, restarted
from tests.support.workers import at_once

EVE = "eve@example.com"


def record_of(client: FlaskClient, user_id: str) -> Any:
    app = client.application
    (record,) = auth_of(app).store.list_sessions(user_id, now=auth_of(app).clock())
    return record


def user_id_of(client: FlaskClient) -> str:
    return str(client.get("/auth/session").get_json()["user"]["id"])


def as_of_0_1(client: FlaskClient, user_id: str) -> None:
    """Make the row of a session what 0.1 has written: it lacks what is new."""
    app = client.application
    record = record_of(client, user_id)
    auth_of(app).store.end_session(record.id)
    bare = replace(record, identifier=None, audience=None, adapter=None, method=None, proved_at=None)
    auth_of(app).store.add_session(bare, now=auth_of(app).clock())
    auth_of(app).registry._cache.clear()


# Whose they are


def test_a_row_says_what_was_proved_for_which_application(worker: Worker, clock: Clock, sign_in: SignIn) -> None:
    client = worker().test_client()
    record = record_of(client, sign_in(client, ADA).get_json()["user"]["id"])
    assert (record.identifier, record.audience, record.adapter) == (ADA, "shop", "partner")
    assert (record.method, record.client, record.proved_at) == ("code", "browser", clock())


def test_a_session_of_another_audience_opens_nothing_and_ends_nothing(worker: Worker, sign_in: SignIn) -> None:
    shop, blog = worker(CHATBOTKIT_AUTH_AUDIENCE="shop"), worker(CHATBOTKIT_AUTH_AUDIENCE="blog")
    client = shop.test_client()
    user_id = sign_in(client, ADA).get_json()["user"]["id"]
    elsewhere = copy_of(client, blog)
    assert not is_in(elsewhere)
    assert elsewhere.get_cookie("remember_token") is not None, "the cookie is the other application's"
    assert is_in(client)
    # Listing and ending reach every audience.
    with blog.app_context():
        assert len(auth_of(blog).sessions(user_id)) == 1
        assert auth_of(blog).end_sessions(user_id) == 1


def test_a_session_of_the_other_kind_of_account_opens_nothing(worker: Worker, sign_in: SignIn) -> None:
    client = worker().test_client()
    sign_in(client, ADA)
    assert not is_in(copy_of(client, worker(CHATBOTKIT_AUTH_ADAPTER="contact")))
    assert is_in(client)


def test_a_session_of_0_1_lives_on_and_is_stamped(worker: Worker, sign_in: SignIn) -> None:
    client = worker().test_client()
    user_id = sign_in(client, ADA).get_json()["user"]["id"]
    as_of_0_1(client, user_id)
    assert is_in(client)
    record = record_of(client, user_id)
    assert (record.audience, record.adapter, record.proved_at) == ("shop", "partner", None)
    assert not is_in(copy_of(client, worker(CHATBOTKIT_AUTH_AUDIENCE="blog")))
    # Nothing says when it was proved: what needs a fresh proof asks for one.
    assert client.get("/bank").status_code == 302


# Which address they were opened for


@pytest.mark.parametrize("old", [False, True], ids=["now", "of 0.1"])
def test_an_address_that_is_changed_upstream_ends_the_sessions(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn, old: bool
) -> None:
    app = worker()
    client = app.test_client()
    user_id = sign_in(client, ADA).get_json()["user"]["id"]
    if old:
        as_of_0_1(client, user_id)
    copy = copy_of(client, worker())
    assert is_in(client)
    assert is_in(copy)
    chatbotkit_sandbox.users[user_id]["email"] = EVE
    heard: list[tuple[str, str]] = []

    def hear(_app: Flask, user_id: str, reason: str) -> None:
        heard.append((user_id, reason))

    clock.advance(900)
    with session_ended.connected_to(hear, app):
        assert not is_in(client)
    assert heard == [(user_id, "address_changed")]
    clock.advance(5)
    assert not is_in(copy)
    assert client.get_cookie("remember_token") is None


@pytest.mark.parametrize("email", [None, "", "ADA@Example.com"])
def test_a_missing_or_another_way_of_writing_an_address_is_no_change(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn, email: str | None
) -> None:
    client = worker().test_client()
    user_id = sign_in(client, ADA).get_json()["user"]["id"]
    chatbotkit_sandbox.users[user_id]["email"] = email
    clock.advance(900)
    assert is_in(client)


def test_an_address_that_an_administrator_changes_ends_the_sessions(worker: Worker, sign_in: SignIn) -> None:
    app = worker()
    client = app.test_client()
    user_id = sign_in(client, ADA).get_json()["user"]["id"]
    with app.app_context():
        auth_of(app).admin.update(user_id, name="Ada")
        assert is_in(client)
        auth_of(app).admin.update(user_id, email=EVE)
    assert not is_in(client)


# How many


def test_the_oldest_session_ends_where_there_are_too_many(worker: Worker, clock: Clock, sign_in: SignIn) -> None:
    app = worker(CHATBOTKIT_AUTH_SESSIONS_MAX=3)
    clients = [app.test_client() for _ in range(4)]
    for client in clients:
        sign_in(client, ADA)
        clock.advance(60)
    assert [is_in(client) for client in clients] == [False, True, True, True]


def test_a_session_that_has_expired_takes_no_place_whichever_way_somebody_signs_in(
    worker: Worker, clock: Clock, sign_in: SignIn
) -> None:
    app = worker(CHATBOTKIT_AUTH_SESSIONS_MAX=2, CHATBOTKIT_AUTH_SESSION_IDLE=3600)
    app.add_url_rule("/other-way/<id>", view_func=lambda id: str(login_user(auth_of(app).adapter.get(id))))
    used, unused, another = (app.test_client() for _ in range(3))
    sign_in(used, ADA)
    clock.advance(60)
    sign_in(unused, ADA)
    for _ in range(3):
        clock.advance(1800)
        assert is_in(used)
    assert another.get(f"/other-way/{user_id_of(used)}").text == "True"
    assert [is_in(client) for client in (used, unused, another)] == [True, False, True]


def test_a_store_of_an_earlier_release_ends_the_oldest_in_a_step_of_its_own(
    make_app: MakeApp, clock: Clock, sign_in: SignIn
) -> None:
    class Earlier(MemoryStore):
        def end_oldest_sessions(self, user_id: str, *, keep: int) -> list[str]:  # type: ignore[override]
            return super().end_oldest_sessions(user_id, keep=keep)

        def complete(self, challenge_id: str, session: SessionRecord, *, now: datetime) -> bool:  # type: ignore[override]
            return super().complete(challenge_id, session, now=now)

    app = make_app(store=Earlier(), CHATBOTKIT_AUTH_SESSIONS_MAX=2)
    clients = [app.test_client() for _ in range(3)]
    for client in clients:
        sign_in(client, ADA)
        clock.advance(60)
    assert [is_in(client) for client in clients] == [False, True, True]


def test_a_store_of_an_earlier_release_knows_fewer_arguments(make_app: MakeApp, clock: Clock, sign_in: SignIn) -> None:
    class Earlier(MemoryStore):
        def list_sessions(self, user_id: str, *, now: datetime) -> list[SessionRecord]:  # type: ignore[override]
            return super().list_sessions(user_id, now=now)

        def touch_session(self, session_id: str, *, seen_at: datetime, expires_at: datetime) -> None:  # type: ignore[override]
            super().touch_session(session_id, seen_at=seen_at, expires_at=expires_at)

        def use_passkey(  # type: ignore[override]
            self,
            passkey_id: str,
            session: SessionRecord,
            *,
            sign_count: int,
            backed_up: bool,
            nonce: str,
            nonce_until: datetime,
            now: datetime,
        ) -> Used:
            given = {"sign_count": sign_count, "backed_up": backed_up, "nonce": nonce, "nonce_until": nonce_until}
            return super().use_passkey(passkey_id, session, now=now, **given)  # type: ignore[arg-type]

    origin = "https://shop.example.com"
    app = make_app(store=Earlier(), CHATBOTKIT_AUTH_PASSKEYS=True, CHATBOTKIT_AUTH_ORIGIN=origin)
    clients = [app.test_client() for _ in range(52)]
    device = SoftwareAuthenticator(origin)
    sign_in(clients[0], ADA)
    assert device.register(clients[0]).status_code == 200
    user_id = user_id_of(clients[0])
    for client in clients[1:]:
        clock.advance(60)
        assert device.sign_in(client).status_code == 200
    assert is_in(clients[0])
    account = clients[1].get("/auth/account", headers={"Accept": "application/json"}).get_json()
    assert len(account["sessions"]) == 50
    with app.app_context():
        assert auth_of(app).admin.delete(user_id) == 52


@pytest.mark.parametrize("store_url", EVERY, indirect=True, scope="module")
def test_the_newest_sign_in_stays_although_the_clock_of_its_worker_is_slow(
    make_app: MakeApp, store: Store, clock: Clock, sign_in: SignIn
) -> None:
    origin = "https://shop.example.com"
    app = make_app(
        store=store, CHATBOTKIT_AUTH_SESSIONS_MAX=1, CHATBOTKIT_AUTH_PASSKEYS=True, CHATBOTKIT_AUTH_ORIGIN=origin
    )
    app.add_url_rule("/other-way/<id>", view_func=lambda id: str(login_user(auth_of(app).adapter.get(id))))
    by_code, by_passkey, another = (app.test_client() for _ in range(3))
    sign_in(by_code, ADA)
    device, user_id = SoftwareAuthenticator(origin), user_id_of(by_code)
    assert device.register(by_code).status_code == 200
    clock.advance(-5)
    assert device.sign_in(by_passkey).status_code == 200
    assert [is_in(client) for client in (by_code, by_passkey)] == [False, True]
    clock.advance(-5)
    assert another.get(f"/other-way/{user_id}").text == "True"
    assert [is_in(client) for client in (by_passkey, another)] == [False, True]


def test_a_session_that_nobody_holds_is_not_shown(
    worker: Worker, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker()
    first, second = app.test_client(), app.test_client()
    user_id = sign_in(first, ADA).get_json()["user"]["id"]
    with monkeypatch.context() as patch:
        # The worker is killed between the row and the answer.
        def die(*_args: object, **_named: object) -> None:
            raise SystemExit

        patch.setattr("flask_chatbotkit_auth.flows.sign_in.enter", die)
        with pytest.raises(SystemExit):
            sign_in(second, ADA)
    with app.app_context():
        assert len(auth_of(app).store.list_sessions(user_id, now=auth_of(app).clock())) == 2
        assert len(auth_of(app).sessions(user_id)) == 1
        assert auth_of(app).end_sessions(user_id) == 2


def test_the_address_of_the_last_use_is_shown(worker: Worker, clock: Clock, sign_in: SignIn) -> None:
    app = worker()
    client = app.test_client()
    user_id = sign_in(client, ADA).get_json()["user"]["id"]

    def shown(address: str) -> str:
        client.get("/dashboard", environ_base={"REMOTE_ADDR": address})
        with app.app_context():
            (record,) = auth_of(app).sessions(user_id)
        return str(record.ip)

    clock.advance(30)
    assert shown("192.0.2.7") == "127.0.0.1"
    # A copied cookie shows within a minute, and its owner's address again likewise.
    clock.advance(30)
    assert shown("192.0.2.7") == "192.0.2.7"
    clock.advance(60)
    assert shown("127.0.0.1") == "127.0.0.1"


def test_a_row_that_a_lagging_node_does_not_have_yet_is_looked_for_again(
    worker: Worker, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker(CHATBOTKIT_AUTH_SESSION_CHECK=0)
    client = app.test_client()
    sign_in(client, ADA)
    look, looks = auth_of(app).store.get_session, []

    def lag(*args: Any, **named: Any) -> Any:
        looks.append(args)
        return None if len(looks) == 1 else look(*args, **named)

    monkeypatch.setattr(auth_of(app).store, "get_session", lag)
    assert is_in(client)
    assert len(looks) == 2


def test_tokens_of_no_session_are_not_waited_for_one_after_the_other(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker(CHATBOTKIT_AUTH_APP_SESSIONS=True)
    look, looks = auth_of(app).store.get_session, []

    def count(*args: Any, **named: Any) -> Any:
        looks.append(args[0])
        return look(*args, **named)

    monkeypatch.setattr(auth_of(app).store, "get_session", count)
    monkeypatch.setattr("flask_chatbotkit_auth.sessions.second_look._REST", 3600)
    for number in range(5):
        headers = {"Authorization": f"Bearer cba-{number:032x}"}
        assert app.test_client().get("/auth/session", headers=headers).status_code in (200, 401)
    assert len(set(looks)) == 5
    assert len(looks) == 6


def test_a_code_that_a_lagging_node_does_not_have_yet_is_looked_for_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker()
    client = app.test_client()
    token = client.get("/auth/session").get_json()["csrf_token"]
    assert client.post("/auth/sign-in", json={"email": ADA}, headers={"X-CSRFToken": token}).status_code == 200
    look, looks = auth_of(app).store.get_challenge, []

    def lag(id: str) -> Any:
        looks.append(id)
        return None if len(looks) == 1 else look(id)

    monkeypatch.setattr(auth_of(app).store, "get_challenge", lag)
    assert client.get("/auth/verify").status_code == 200

    # Whoever replays the cookie of a code that is gone must not hold a thread with each request.
    monkeypatch.setattr(auth_of(app).store, "get_challenge", looks.append)
    monkeypatch.setattr("flask_chatbotkit_auth.sessions.second_look._REST", 3600)
    cookie = client.get_cookie("session")
    assert cookie
    counts = []
    for _ in range(3):
        looks.clear()
        client.set_cookie("session", cookie.value)
        client.get("/auth/verify")
        counts.append(len(looks))
    assert counts[0] - 1 == counts[1] == counts[2] > 0


def test_use_is_noted_every_ten_minutes(
    worker: Worker, clock: Clock, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker(CHATBOTKIT_AUTH_USER_REFRESH=DAY)
    client = app.test_client()
    sign_in(client, ADA)
    touch, touched = auth_of(app).store.touch_session, []

    def count(*args: Any, **named: Any) -> None:
        touched.append(clock())
        touch(*args, **named)

    monkeypatch.setattr(auth_of(app).store, "touch_session", count)
    for _minute in range(31):
        assert is_in(client)
        clock.advance(60)
    assert len(touched) == 3


# Refresh


def test_a_user_is_fetched_once_however_many_sessions_there_are(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    app = worker()
    clients = [app.test_client() for _ in range(4)]
    for client in clients:
        sign_in(client, ADA)
    clock.advance(900)
    chatbotkit_sandbox.requests.clear()
    chatbotkit_sandbox.latency = 0.1
    assert at_once(4, lambda number: is_in(clients[number])) == [True] * 4
    assert [is_in(client) for client in clients] == [True] * 4
    assert fetches(chatbotkit_sandbox) == 1


def test_what_has_not_changed_is_not_written_again(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker()
    client = app.test_client()
    user_id = sign_in(client, ADA).get_json()["user"]["id"]
    clock.advance(900)
    assert is_in(client)  # what the API made of the new account may differ from what was sent
    save, saved = auth_of(app).store.save_user, []

    def count(user: User, **named: Any) -> None:
        saved.append(clock())
        save(user, **named)

    monkeypatch.setattr(auth_of(app).store, "save_user", count)
    chatbotkit_sandbox.requests.clear()
    for _quarter in range(8):
        clock.advance(900)
        assert is_in(client)
    assert fetches(chatbotkit_sandbox) == 8
    assert saved == []
    chatbotkit_sandbox.users[user_id]["name"] = "Ada"
    clock.advance(900)
    assert is_in(client)
    assert len(saved) == 1


def test_a_user_who_never_changes_outlives_an_outage_on_a_new_worker(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    client = worker().test_client()
    sign_in(client, ADA)
    for _hour in range(48):
        clock.advance(3600)
        assert is_in(client)
    chatbotkit_sandbox.fail("*", drop=True)
    clock.advance(3600)
    assert is_in(copy_of(client, worker()))


def test_a_refresh_retries_nothing(worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn) -> None:
    client = worker(CHATBOTKIT_API_RETRIES=2).test_client()
    sign_in(client, ADA)
    chatbotkit_sandbox.fail("*/fetch", status=503)
    chatbotkit_sandbox.requests.clear()
    clock.advance(900)
    assert is_in(client)
    assert fetches(chatbotkit_sandbox) == 1


def test_a_throttled_api_is_left_alone(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    app = worker(CHATBOTKIT_AUTH_RATE_LIMITS={"request:ip": None})
    clients = [app.test_client() for _ in range(6)]
    for number, client in enumerate(clients):
        sign_in(client, f"person{number}@example.com")
    chatbotkit_sandbox.fail("*", status=429)
    chatbotkit_sandbox.requests.clear()
    clock.advance(900)
    for _second in range(100):
        assert all(is_in(client) for client in clients)
        clock.advance(1)
    assert fetches(chatbotkit_sandbox) <= 10
    chatbotkit_sandbox.heal()
    clock.advance(300)
    assert all(is_in(client) for client in clients)
    clock.advance(1)
    chatbotkit_sandbox.requests.clear()
    assert all(is_in(client) for client in clients)
    assert not fetches(chatbotkit_sandbox), "every one was refreshed as soon as the API answered"


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"drop": True}], ids=str)
def test_a_busy_session_asks_a_failing_api_seven_times_in_a_hundred_seconds(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn, fault: dict[str, Any]
) -> None:
    client = worker().test_client()
    sign_in(client, ADA)
    chatbotkit_sandbox.fail("*/fetch", **fault)
    chatbotkit_sandbox.requests.clear()
    clock.advance(900)
    for _second in range(100):
        assert is_in(client)
        clock.advance(1)
    assert 2 <= fetches(chatbotkit_sandbox) <= 7


def test_a_failing_api_that_says_when_is_not_asked_before(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    client = worker().test_client()
    sign_in(client, ADA)
    chatbotkit_sandbox.fail("*/fetch", status=429, headers={"Retry-After": "100"})
    chatbotkit_sandbox.requests.clear()
    clock.advance(900)
    for _second in range(100):
        assert is_in(client)
        clock.advance(1)
    assert fetches(chatbotkit_sandbox) == 1


@pytest.mark.parametrize("refusal", [False, "You are suspended."])
def test_sign_in_callback_is_asked_again_at_a_refresh(
    worker: Worker, clock: Clock, sign_in: SignIn, refusal: object
) -> None:
    app = worker()
    client = app.test_client()
    sign_in(client, ADA)
    asked: list[str] = []
    auth: ChatBotKitAuth = app.extensions["test_auth"]

    @auth.sign_in_callback
    def may(identifier: str, _user: User) -> object:
        asked.append(identifier)
        return refusal

    assert is_in(client)
    clock.advance(900)
    assert not is_in(client)
    assert asked == [ADA]
    assert not is_in(restarted(client))


def test_a_callback_that_fails_at_a_refresh_signs_nobody_out(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn, caplog: pytest.LogCaptureFixture
) -> None:
    app = worker()
    client = app.test_client()
    user_id = sign_in(client, ADA).get_json()["user"]["id"]
    auth: ChatBotKitAuth = app.extensions["test_auth"]

    @auth.sign_in_callback
    def may(_identifier: str, _user: User) -> None:
        raise RuntimeError("the table of members is locked")

    chatbotkit_sandbox.users[user_id]["name"] = "Ada"
    clock.advance(900)
    assert client.get("/auth/session").get_json()["user"]["name"] is None
    assert "sign_in_callback failed" in caplog.text


def test_a_callback_may_ask_who_is_signed_in(worker: Worker, clock: Clock, sign_in: SignIn) -> None:
    app = worker()
    client = app.test_client()
    sign_in(client, ADA)
    auth: ChatBotKitAuth = app.extensions["test_auth"]

    @auth.sign_in_callback
    def may(_identifier: str, user: User) -> bool:
        from flask_login import current_user

        return bool(current_user.is_anonymous or current_user.id == user.id)

    for days in (0.1, 2):
        clock.advance(days * DAY)
        assert is_in(client)


def test_an_account_that_is_gone_upstream_is_told_once(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    app = worker()
    clients = [app.test_client(), app.test_client()]
    for client in clients:
        user_id = sign_in(client, ADA).get_json()["user"]["id"]
    heard: list[tuple[str, str]] = []

    def hear(_app: Flask, user_id: str, user: User) -> None:
        heard.append((user_id, user.email))

    chatbotkit_sandbox.users.clear()
    clock.advance(900)
    with user_deleted.connected_to(hear, app):
        assert [is_in(client) for client in clients] == [False, False]
    assert heard == [(user_id, ADA)]


def test_a_suspension_counts_although_the_clock_of_another_worker_is_fast(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    fast, other = worker(), worker()
    client = fast.test_client()
    clock.advance(60)
    user_id = sign_in(client, ADA).get_json()["user"]["id"]
    clock.advance(-50)  # the other worker's clock, ten seconds later
    with other.app_context():
        auth_of(other).suspend(user_id)
    clock.advance(60)
    assert not is_in(client)
    with other.app_context():
        auth_of(other).resume(user_id)
    clock.advance(60)
    assert is_in(client)
    # A suspension that somebody else lifts, by the API, is over at the next refresh.
    with other.app_context():
        auth_of(other).suspend(user_id)
    clock.advance(60)
    assert not is_in(client)
    del chatbotkit_sandbox.users[user_id]["meta"]["suspendedAt"]
    clock.advance(900)
    assert is_in(client)
    clock.advance(60)
    assert is_in(client)
