"""Sessions from outside: how long they last, who ends them, what an outage does, and how Flask-Login sees them.

"Another worker" is another application object on the same SQLite store. The tests of events (below) are the rows of
``docs/sessions-table.rst``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cachelib.file import FileSystemCache
from flask import Flask
from flask.testing import FlaskClient
from flask_login import FlaskLoginClient, LoginManager, encode_cookie, login_user
from flask_mail import Message
from flask_session import Session
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import (
    ChatBotKitAuth,
    SignInDenied,
    StoreError,
    User,
    session_ended,
    user_signed_in,
    user_signed_out,
)
from flask_chatbotkit_auth.exceptions import APIStatusError
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.sites import ADA, DAY, SignIn, Worker, auth_of, copy_of, fetches, is_in, restarted
from tests.support.steps import post
from tests.support.workers import at_once


def test_a_user_loader_that_comes_later_is_told_in_the_log(
    make_app: MakeApp, sign_in: SignIn, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    sign_in(app.test_client(), ADA)
    assert "user_loader" not in caplog.text
    app.login_manager.user_loader(lambda _id: None)  # type: ignore[attr-defined]
    client = app.test_client()
    sign_in(client, ADA)
    assert not is_in(client)
    assert "another user_loader was registered after init_app, so nobody stays signed in. Register yours" in caplog.text


@pytest.mark.parametrize("loads", [True, False], ids=["with a loader", "without one"])
def test_a_login_manager_that_comes_later_asks_us_too(worker: Worker, sign_in: SignIn, loads: bool) -> None:
    app = worker()
    manager = LoginManager()
    asked: list[object] = []
    if loads:
        manager.user_loader(lambda user_id: asked.append(user_id))
    manager.init_app(app)
    assert "ok       user_loader" in app.test_cli_runner().invoke(args=["chatbotkit-auth", "doctor"]).output
    client = app.test_client()
    assert client.get("/dashboard").location == "/auth/sign-in?next=%2Fdashboard"
    sign_in(client, ADA)
    assert is_in(client)
    assert is_in(restarted(client))
    member = app.test_client()
    with member.session_transaction() as session:
        session["_user_id"] = "7"
    assert not is_in(member)
    assert asked == (["7"] if loads else [])


def test_a_login_manager_that_comes_later_answers_apps_in_json(worker: Worker) -> None:
    app = worker(CHATBOTKIT_AUTH_APP_SESSIONS=True)
    LoginManager(app)
    answer = app.test_client().get("/dashboard", headers={"Authorization": "Bearer cbk-app-x"})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (401, "invalid_token")


# The cookie


def test_the_cookie_is_small_and_tells_nothing_of_the_person(
    worker: Worker, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    chatbotkit_sandbox.add_user(ADA, name="Ada Lovelace", meta={"notes": "x" * 12_000})
    client = worker().test_client()
    answer = sign_in(client, ADA)
    cookies = [client.get_cookie(name) for name in ("session", "remember_token")]
    values = [cookie.value for cookie in cookies if cookie]
    assert sum(map(len, values)) < 1024
    user = answer.get_json()["user"]
    for secret in (ADA, "Lovelace", user["id"], "xxxx"):
        assert not any(secret in value for value in values)
    assert "Hello ada@example.com" in client.get("/dashboard").text


def test_the_store_cannot_become_the_person(worker: Worker, sign_in: SignIn) -> None:
    app = worker()
    client = app.test_client()
    user = sign_in(client, ADA).get_json()["user"]
    (record,) = auth_of(app).store.list_sessions(user["id"], now=auth_of(app).clock())
    cookie = client.get_cookie("remember_token")
    assert cookie is not None
    assert re.fullmatch(r"cbk-[0-9a-f]{32}\|[0-9a-f]{128}", cookie.value)
    assert record.id not in cookie.value
    with client.session_transaction() as session:
        session["_user_id"] = f"cbk-{record.id}"
    client.delete_cookie("remember_token")
    assert not is_in(client)


def test_nothing_in_the_session_outlives_signing_in_or_out(worker: Worker, sign_in: SignIn) -> None:
    client = worker().test_client()
    changes: list[Callable[[], TestResponse]] = [
        lambda: sign_in(client, ADA),
        lambda: post(client, "/auth/sign-out", {}),
    ]
    for change in changes:
        with client.session_transaction() as session:
            session["planted"] = "by somebody who was here before"
        assert change().status_code == 200
        with client.session_transaction() as session:
            assert "planted" not in session


# How long


def test_a_session_ends_when_it_is_not_used(worker: Worker, clock: Clock, sign_in: SignIn) -> None:
    client = worker().test_client()
    sign_in(client, ADA)
    clock.advance(6.9 * DAY)
    assert is_in(client)
    clock.advance(6.9 * DAY)
    assert is_in(client)
    clock.advance(7 * DAY)
    assert not is_in(client)
    assert client.get_cookie("remember_token") is None


def test_a_session_that_is_never_used_ends_as_early(worker: Worker, clock: Clock, sign_in: SignIn) -> None:
    client = worker().test_client()
    sign_in(client, ADA)
    clock.advance(7 * DAY)
    assert not is_in(client)


def test_a_session_that_a_worker_remembers_ends_on_time(worker: Worker, clock: Clock, sign_in: SignIn) -> None:
    client = worker(CHATBOTKIT_AUTH_SESSION_LIFETIME=100).test_client()
    sign_in(client, ADA)
    clock.advance(98)
    assert is_in(client)
    clock.advance(2)
    assert not is_in(client)


def test_a_session_ends_however_much_it_is_used(worker: Worker, clock: Clock, sign_in: SignIn) -> None:
    client = worker().test_client()
    sign_in(client, ADA)
    for _day in range(29):
        clock.advance(DAY)
        assert is_in(client)
    clock.advance(DAY)
    assert not is_in(client)


def test_a_session_in_use_is_never_idle_however_rarely_the_store_is_asked(
    worker: Worker, clock: Clock, sign_in: SignIn
) -> None:
    client = worker(CHATBOTKIT_AUTH_SESSION_IDLE=60, CHATBOTKIT_AUTH_SESSION_CHECK=3600).test_client()
    sign_in(client, ADA)
    for _minute in range(20):
        clock.advance(10)
        assert is_in(client)


def test_a_worker_asks_the_store_once_in_session_check(
    worker: Worker, clock: Clock, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker()
    client = app.test_client()
    sign_in(client, ADA)
    asked = []
    look = auth_of(app).store.get_session

    def count(*args: Any, **kw: Any) -> Any:
        asked.append(args)
        return look(*args, **kw)

    monkeypatch.setattr(auth_of(app).store, "get_session", count)
    for _second in range(10):
        assert is_in(client)
        clock.advance(1)
    assert len(asked) == 1


@pytest.mark.parametrize("refresh", [0, 3, 300])
def test_knowledge_of_an_ended_session_is_never_older_than_session_check(
    worker: Worker, clock: Clock, sign_in: SignIn, refresh: int
) -> None:
    here, there = (worker(CHATBOTKIT_AUTH_USER_REFRESH=refresh) for _ in range(2))
    client = here.test_client()
    sign_in(client, ADA)
    elsewhere = copy_of(client, there)
    assert is_in(elsewhere)
    post(client, "/auth/sign-out", {})
    # Refreshing the user meanwhile says nothing of the session, and must not lengthen its life.
    for _second in range(4):
        clock.advance(1)
        assert is_in(elsewhere)
    clock.advance(1)
    assert not is_in(elsewhere)


def test_who_reads_a_session_while_it_ends_does_not_keep_it(
    worker: Worker, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker()
    client = app.test_client()
    sign_in(client, ADA)
    copy = copy_of(client)
    store = auth_of(app).store
    for name in ("end_session", "end_sessions"):
        end = getattr(store, name)

        def end_late(*args: Any, end: Any = end, **named: Any) -> Any:
            auth_of(app).registry._cache.clear()
            assert at_once(1, lambda _number: is_in(copy)) == [True]  # it reads the row just before that goes
            return end(*args, **named)

        monkeypatch.setattr(store, name, end_late)
    post(client, "/auth/sign-out", {})
    assert not is_in(copy)
    sign_in(client, ADA)
    copy = copy_of(client)
    user_id = client.get("/auth/session").get_json()["user"]["id"]
    with app.app_context():
        assert auth_of(app).end_sessions(user_id) == 1
    assert not is_in(copy)


def test_a_worker_remembers_so_many_sessions_and_no_more(
    worker: Worker, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_chatbotkit_auth.sessions.cache._CACHE_SIZE", 3)
    app = worker()
    clients = [app.test_client() for _ in range(5)]
    for number, client in enumerate(clients):
        sign_in(client, f"ada{number}@example.com")
    assert who_is_in(clients) == [True] * 5
    assert len(auth_of(app).registry._cache._rows) == 3


def test_session_check_0_asks_at_every_request(worker: Worker, sign_in: SignIn) -> None:
    here, there = (worker(CHATBOTKIT_AUTH_SESSION_CHECK=0) for _ in range(2))
    client = here.test_client()
    sign_in(client, ADA)
    elsewhere = copy_of(client, there)
    assert is_in(elsewhere)
    post(client, "/auth/sign-out", {})
    assert not is_in(elsewhere)


# Refreshing the user


def test_inside_user_refresh_no_page_calls_the_api(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    client = worker().test_client()
    sign_in(client, ADA)
    chatbotkit_sandbox.requests.clear()
    for _minute in range(89):
        clock.advance(10)
        assert is_in(client)
    assert not chatbotkit_sandbox.requests
    clock.advance(10)
    assert is_in(client)
    assert fetches(chatbotkit_sandbox) == 1


def test_what_changes_upstream_shows_after_user_refresh(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    client = worker().test_client()
    user = sign_in(client, ADA).get_json()["user"]
    chatbotkit_sandbox.users[user["id"]]["name"] = "Ada"
    assert client.get("/auth/session").get_json()["user"]["name"] is None
    clock.advance(900)
    assert client.get("/auth/session").get_json()["user"]["name"] == "Ada"


@pytest.mark.parametrize("age", [900, 2 * DAY], ids=["due", "too old to be served"])
def test_two_hundred_requests_at_once_cause_one_call_a_worker(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn, age: int
) -> None:
    app = worker()
    client = app.test_client()
    sign_in(client, ADA)
    clock.advance(age)
    chatbotkit_sandbox.requests.clear()
    chatbotkit_sandbox.latency = 0.2
    browsers = [copy_of(client) for _ in range(200)]
    assert at_once(200, lambda number: is_in(browsers[number])) == [True] * 200
    assert fetches(chatbotkit_sandbox) == 1


def test_two_workers_share_one_call(worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn) -> None:
    here, there = worker(), worker()
    client = here.test_client()
    sign_in(client, ADA)
    clock.advance(900)
    chatbotkit_sandbox.requests.clear()
    chatbotkit_sandbox.latency = 0.2
    browsers = [copy_of(client, app) for app in (here, there) for _ in range(20)]
    assert at_once(40, lambda number: is_in(browsers[number])) == [True] * 40
    assert fetches(chatbotkit_sandbox) == 1


def test_while_one_request_refreshes_the_others_go_on(
    worker: Worker, clock: Clock, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker()
    client = app.test_client()
    sign_in(client, ADA)
    clock.advance(900)
    met = []

    def get(id: str) -> User:
        # Inside the one refresh: another request of the same session is answered meanwhile.
        met.append(is_in(copy_of(client)))
        return User(id=id, email=ADA, name="Ada")

    monkeypatch.setattr(auth_of(app).adapter, "refresh", get)
    assert client.get("/auth/session").get_json()["user"]["name"] == "Ada"
    assert met == [True]


def test_a_slow_reader_does_not_bring_an_older_user_back(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker()
    client = app.test_client()
    user = sign_in(client, ADA).get_json()["user"]
    clock.advance(10)
    store, look = auth_of(app).store, auth_of(app).store.get_session

    def slow(*args: Any, **kw: Any) -> Any:
        record = look(*args, **kw)
        monkeypatch.setattr(store, "get_session", look)
        with app.test_request_context():
            auth_of(app).update_user(user["id"], name="Ada")
            assert is_in(copy_of(client))
        return record

    monkeypatch.setattr(store, "get_session", slow)
    assert is_in(client)
    assert client.get("/auth/session").get_json()["user"]["name"] == "Ada"


# When something is away


def test_a_secret_that_is_refused_about_everybody_signs_nobody_out(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    client = worker().test_client()
    sign_in(client, ADA)
    chatbotkit_sandbox.fail("*/fetch", status=403)
    for _round in range(3):
        clock.advance(900)
        assert is_in(client)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 401},
        {"drop": True},
        {"body": "<html>moved</html>", "status": 404},
        {"body": "<html>blocked</html>", "status": 403},
        {"body": '{"code": "404", "message": "No route matched"}', "status": 404},
        {"body": "[]"},
    ],
    ids=str,
)
def test_no_fault_of_the_api_signs_anybody_out(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn, fault: dict[str, Any]
) -> None:
    client = worker(CHATBOTKIT_API_RETRIES=0).test_client()
    sign_in(client, ADA)
    chatbotkit_sandbox.fail("*", **fault)
    for _round in range(3):
        clock.advance(901)
        assert is_in(client)
    assert fetches(chatbotkit_sandbox) == 3


def test_an_api_that_hangs_holds_one_request_and_not_one_of_each_session(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    app = worker(CHATBOTKIT_API_RETRIES=0, CHATBOTKIT_AUTH_RATE_LIMITS={"request:ip": None})
    clients = [app.test_client() for _ in range(10)]
    for number, client in enumerate(clients):
        sign_in(client, f"person{number}@example.com")
    chatbotkit_sandbox.fail("*", drop=True)
    chatbotkit_sandbox.requests.clear()
    clock.advance(900)
    assert all(is_in(client) for client in clients)
    assert fetches(chatbotkit_sandbox) == 1
    clock.advance(5)
    assert all(is_in(client) for client in clients)
    assert fetches(chatbotkit_sandbox) == 2


def test_an_api_that_refuses_one_person_is_asked_about_the_others(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    app = worker(CHATBOTKIT_API_RETRIES=0)
    ada, eve = app.test_client(), app.test_client()
    broken = sign_in(ada, ADA).get_json()["user"]
    gone = sign_in(eve, "eve@example.com").get_json()["user"]
    chatbotkit_sandbox.fail(f"*/{broken['id']}/fetch", status=500)
    del chatbotkit_sandbox.users[gone["id"]]
    clock.advance(900)
    assert is_in(ada)
    assert not is_in(eve)


def test_a_store_that_cannot_be_written_signs_nobody_out(
    worker: Worker, clock: Clock, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker()
    client = app.test_client()
    sign_in(client, ADA)

    def fail(*args: object, **kw: object) -> None:
        raise StoreError("read-only")

    for name in ("touch_session", "claim_refresh", "save_user"):
        with monkeypatch.context() as patch:
            patch.setattr(auth_of(app).store, name, fail)
            clock.advance(901)
            assert is_in(client), name


# Flask-Login


def test_a_code_makes_a_session_fresh(worker: Worker, sign_in: SignIn) -> None:
    client = worker().test_client()
    sign_in(client, ADA)
    assert client.get("/fresh").text == "fresh"
    assert client.get("/bank").text == "vault"


def test_a_restarted_browser_is_remembered_and_not_fresh(
    worker: Worker, sign_in: SignIn, chatbotkit_outbox: list[Message]
) -> None:
    app = worker()
    client = app.test_client()
    sign_in(client, ADA)
    client = restarted(client)
    assert is_in(client)
    assert client.get("/fresh").text == "remembered"
    refused = client.get("/bank")
    assert refused.status_code == 302
    assert refused.location == "/auth/sign-in?next=%2Fbank"
    assert client.get(refused.location).status_code == 200
    sign_in(client, ADA)
    assert client.get("/bank").text == "vault"
    user_id = client.get("/auth/session").get_json()["user"]["id"]
    with app.app_context():
        assert len(auth_of(app).sessions(user_id)) == 1


def test_the_remember_cookie_lasts_as_long_as_the_session(worker: Worker, sign_in: SignIn) -> None:
    answer = sign_in(worker(SESSION_COOKIE_SECURE=True).test_client(), ADA)
    (remember,) = (each for each in answer.headers.getlist("Set-Cookie") if each.startswith("remember_token="))
    assert "HttpOnly" in remember
    assert "SameSite=Lax" in remember
    assert "Secure" in remember
    assert "Expires=" in remember


@pytest.mark.parametrize(("protection", "stays"), [("basic", True), ("strong", False), (None, True)])
def test_session_protection_watches_the_browser(
    worker: Worker, sign_in: SignIn, protection: str | None, stays: bool
) -> None:
    client = worker(SESSION_PROTECTION=protection).test_client()
    sign_in(client, ADA)
    assert client.get("/dashboard", headers={"User-Agent": "a thief's"}).status_code == (200 if stays else 302)
    assert (client.get_cookie("remember_token") is not None) is stays
    assert client.get("/fresh").text == ("fresh" if protection is None else "remembered")


@pytest.mark.parametrize("protection", ["basic", "strong", None])
def test_session_protection_does_not_forget_who_is_remembered(
    worker: Worker, sign_in: SignIn, protection: str | None
) -> None:
    client = worker(SESSION_PROTECTION=protection).test_client()
    sign_in(client, ADA)
    client = restarted(client)
    assert [is_in(client) for _ in range(3)] == [True, True, True]


def test_an_application_that_signs_out_by_itself_ends_the_session_too(worker: Worker, sign_in: SignIn) -> None:
    app = worker()
    client = app.test_client()
    sign_in(client, ADA)
    copy = copy_of(client)
    heard: list[User] = []

    def hear(_app: Flask, user: User) -> None:
        heard.append(user)

    with user_signed_out.connected_to(hear, app):
        client.get("/leave")
    assert [user.email for user in heard] == [ADA]
    assert not is_in(client)
    assert not is_in(copy)


def test_flask_session_keeps_the_token_on_the_server(
    make_app: MakeApp, tmp_path: Path, sign_in: SignIn, clock: Clock
) -> None:
    app = make_app(SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(str(tmp_path / "sessions")))
    Session(app)
    client = app.test_client()
    client.get("/auth/session")
    before = client.get_cookie("session")
    sign_in(client, ADA)
    after = client.get_cookie("session")
    assert before is not None
    assert after is not None
    assert before.value != after.value, "a session id that was planted must not become a signed-in one"
    assert is_in(client)
    copy, planted = copy_of(client), app.test_client()
    planted.set_cookie("session", before.value)
    assert is_in(copy)
    assert not is_in(planted)
    assert is_in(restarted(client))
    post(client, "/auth/sign-out", {})
    assert not any(map(is_in, (client, copy, restarted(copy))))


# The table of events: a signed-in browser, a second browser, a copied cookie, another worker


def four(worker: Worker, sign_in: SignIn, **config: Any) -> list[FlaskClient]:
    """Return a browser, another browser of the same person, a copy of the first one's cookies, and it at another worker."""
    here, there = worker(**config), worker(**config)
    browser, second = here.test_client(), here.test_client()
    sign_in(browser, ADA)
    sign_in(second, ADA)
    clients = [browser, second, copy_of(browser), copy_of(browser, there)]
    assert all(map(is_in, clients))
    return clients


def who_is_in(clients: list[FlaskClient]) -> list[bool]:
    return [is_in(client) for client in clients]


def test_event_sign_out_here(worker: Worker, clock: Clock, sign_in: SignIn) -> None:
    clients = four(worker, sign_in)
    post(clients[0], "/auth/sign-out", {})
    assert who_is_in(clients) == [False, True, False, True]
    clock.advance(5)
    assert who_is_in(clients) == [False, True, False, False]


def test_event_sign_out_everywhere(worker: Worker, clock: Clock, sign_in: SignIn) -> None:
    clients = four(worker, sign_in)
    app = clients[0].application
    user = clients[0].get("/auth/session").get_json()["user"]
    heard: list[tuple[str, str]] = []

    def hear(_app: Flask, user_id: str, reason: str) -> None:
        heard.append((user_id, reason))

    with app.app_context(), session_ended.connected_to(hear, app):
        assert auth_of(app).end_sessions(user["id"]) == 2
    assert heard == [(user["id"], "ended")]
    assert who_is_in(clients) == [False, False, False, True]
    clock.advance(5)
    assert who_is_in(clients) == [False, False, False, False]


def test_event_sign_out_of_all_other_devices(worker: Worker, sign_in: SignIn) -> None:
    clients = four(worker, sign_in)
    post(clients[0], "/auth/account/sessions/end-others", {})
    assert who_is_in(clients) == [True, False, True, True]


@pytest.mark.parametrize("refusal", ["gone", "forbidden"])
def test_event_deletion_upstream(
    worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn, refusal: str
) -> None:
    clients = four(worker, sign_in)
    eve = clients[0].application.test_client()
    sign_in(eve, "eve@example.com")
    user_id = clients[0].get("/auth/session").get_json()["user"]["id"]
    if refusal == "gone":
        del chatbotkit_sandbox.users[user_id]
    else:
        chatbotkit_sandbox.fail(f"*/{user_id}/fetch", status=403)
    clock.advance(899)
    assert who_is_in(clients) == [True, True, True, True]
    clock.advance(1)
    # Another account can be fetched by the same secret: so a 403 is about this one.
    assert is_in(eve)
    chatbotkit_sandbox.requests.clear()
    # The first page ends the sessions in the store; the other worker knows within SESSION_CHECK.
    assert who_is_in(clients)[:3] == [False, False, False]
    clock.advance(5)
    assert not is_in(clients[3])
    assert fetches(chatbotkit_sandbox) == 1


def test_event_suspension_by_user_callback(worker: Worker, sign_in: SignIn) -> None:
    suspended: set[str] = set()

    class Member:
        is_authenticated, is_anonymous = True, False

        def __init__(self, user: User) -> None:
            self.id, self.email = user.id, user.email

        def get_id(self) -> str:
            return self.id

        @property
        def is_active(self) -> bool:
            return self.email not in suspended

    def watched(**config: Any) -> Flask:
        app = worker(**config)
        auth: ChatBotKitAuth = app.extensions["test_auth"]
        auth.user_callback(Member)
        return app

    clients = four(watched, sign_in)
    suspended.add(ADA)
    assert who_is_in(clients) == [False, False, False, False]
    assert clients[0].get("/auth/account").status_code == 302
    refused = sign_in(watched().test_client(), ADA)
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (403, "sign_in_denied")
    suspended.clear()
    assert who_is_in(clients) == [True, True, True, True]
    assert len(clients[0].get("/auth/account", headers={"Accept": "application/json"}).get_json()["sessions"]) == 2


def test_event_suspension_by_sign_in_callback(
    worker: Worker, clock: Clock, sign_in: SignIn, chatbotkit_outbox: list[Message]
) -> None:
    clients = four(worker, sign_in)
    app = clients[0].application
    auth: ChatBotKitAuth = app.extensions["test_auth"]
    auth.sign_in_callback(lambda identifier, user: identifier != ADA)
    assert who_is_in(clients) == [True, True, True, True]
    with app.app_context():
        auth_of(app).end_sessions(clients[0].get("/auth/session").get_json()["user"]["id"])
    clock.advance(5)
    assert who_is_in(clients) == [False, False, False, False]
    assert sign_in(clients[0], ADA).get_json()["error"]["code"] == "sign_in_denied"


def test_event_outage(worker: Worker, clock: Clock, chatbotkit_sandbox: Sandbox, sign_in: SignIn) -> None:
    clients = four(worker, sign_in, CHATBOTKIT_API_RETRIES=0)
    chatbotkit_sandbox.fail("*", drop=True)
    clock.advance(DAY - 1)
    assert who_is_in(clients) == [True, True, True, True]
    clock.advance(6)
    chatbotkit_sandbox.requests.clear()
    assert who_is_in(clients) == [False, False, False, False]
    assert fetches(chatbotkit_sandbox) <= 2, "one call a worker, or pages would wait for the API one after another"
    chatbotkit_sandbox.heal()
    clock.advance(5)
    # Nobody needs a new code: the sessions went on, only the people behind them could not be shown.
    assert who_is_in(clients) == [True, True, True, True]


def test_event_key_rotation(worker: Worker, sign_in: SignIn) -> None:
    clients = four(worker, sign_in)
    rotated = {"SECRET_KEY": "a newer secret", "SECRET_KEY_FALLBACKS": ["not a secret"]}
    new, newer = worker(**rotated), worker(**rotated)
    apps = (new, new, new, newer)
    moved = [copy_of(client, app) for client, app in zip(clients, apps, strict=True)]
    assert who_is_in(moved) == [True, True, True, True]
    # Also a browser that was closed meanwhile. What it holds now is signed under the new key alone.
    reopened = restarted(clients[0], new)
    assert is_in(reopened)
    assert reopened.get("/fresh").text == "remembered"
    after = worker(SECRET_KEY="a newer secret")
    assert is_in(copy_of(reopened, after))
    assert is_in(restarted(reopened, after))
    assert all(is_in(copy_of(client, after)) for client in moved)


def test_event_key_rotation_without_fallbacks(worker: Worker, sign_in: SignIn) -> None:
    clients = four(worker, sign_in)
    new, newer = worker(SECRET_KEY="a newer secret"), worker(SECRET_KEY="a newer secret")
    moved = [copy_of(client, app) for client, app in zip(clients, (new, new, new, newer), strict=True)]
    assert who_is_in(moved) == [False, False, False, False]


def test_a_fallback_does_not_bring_an_ended_session_back(worker: Worker, clock: Clock, sign_in: SignIn) -> None:
    clients = four(worker, sign_in)
    copy = restarted(clients[0])
    post(clients[0], "/auth/sign-out", {})
    new = worker(SECRET_KEY="a newer secret", SECRET_KEY_FALLBACKS=["not a secret"])
    moved = restarted(copy, new)
    assert not is_in(moved)
    assert moved.get_cookie("remember_token") is None


@pytest.mark.parametrize("cookie", ["cbk-", "cbk-x|", "cbk-é|é", "cbk-a|" + "0" * 128, "|", "other|0"])
def test_a_fallback_takes_no_forged_cookie(worker: Worker, cookie: str) -> None:
    client = worker(SECRET_KEY="a newer secret", SECRET_KEY_FALLBACKS=["not a secret"]).test_client()
    client.set_cookie("remember_token", cookie.encode("ascii", "ignore").decode())
    assert not is_in(client)


def test_a_fallback_leaves_the_applications_own_cookies_alone(worker: Worker) -> None:
    with worker().test_request_context():
        cookie = encode_cookie("7")
    client = worker(SECRET_KEY="a newer secret", SECRET_KEY_FALLBACKS=["not a secret"]).test_client()
    client.set_cookie("remember_token", cookie)
    client.get("/dashboard")
    with client.session_transaction() as session:
        assert "_user_id" not in session


def test_a_fallback_remembers_nobody_but_whom_the_cookie_names(worker: Worker, sign_in: SignIn) -> None:
    # Somebody of the application's own is signed in beside it, for this browser session and no longer.
    client = worker().test_client()
    sign_in(client, ADA)
    moved = restarted(client, worker(SECRET_KEY="a newer secret", SECRET_KEY_FALLBACKS=["not a secret"]))
    with moved.session_transaction() as session:
        session["_user_id"] = "7"
    before = moved.get_cookie("remember_token")
    moved.get("/dashboard")
    after = moved.get_cookie("remember_token")
    assert before is not None
    assert after is None or after.value == before.value


def test_too_old_a_user_whom_the_api_refuses_to_show_is_not_served(
    worker: Worker, clock: Clock, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker()
    client = app.test_client()
    sign_in(client, ADA)
    clock.advance(timedelta(days=2).total_seconds())

    def fail(_id: str) -> None:
        raise APIStatusError(500, "", "broken")

    monkeypatch.setattr(auth_of(app).adapter, "refresh", fail)
    assert at_once(20, lambda _number: is_in(copy_of(client))) == [False] * 20
    monkeypatch.undo()
    clock.advance(10)
    assert is_in(client)


# Fresh


def test_a_proof_is_fresh_for_an_hour(worker: Worker, clock: Clock, sign_in: SignIn) -> None:
    client = worker().test_client()
    sign_in(client, ADA)
    clock.advance(3599)
    assert client.get("/bank").text == "vault"
    clock.advance(1)
    assert client.get("/bank").location == "/auth/sign-in?next=%2Fbank"
    assert is_in(client)
    sign_in(client, ADA)
    assert client.get("/bank").text == "vault"


@pytest.mark.parametrize("path", ["end-others", "{id}/end"])
def test_ending_other_sessions_asks_for_a_fresh_proof(worker: Worker, clock: Clock, sign_in: SignIn, path: str) -> None:
    app = worker(CHATBOTKIT_AUTH_FRESH=60)
    client, other = app.test_client(), app.test_client()
    sign_in(client, ADA)
    user_id = sign_in(other, ADA).get_json()["user"]["id"]
    clock.advance(60)
    (other_id,) = (
        each.id for each in auth_of(app).store.list_sessions(user_id, now=clock()) if not own(client, each.id)
    )
    target = f"/auth/account/sessions/{path.format(id=other_id)}"
    refused = post(client, target, {})
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (403, "not_fresh")
    assert is_in(other)
    sign_in(client, ADA)
    assert post(client, target, {}).get_json() == {"ended": 1}
    assert not is_in(other)


def own(client: FlaskClient, session_id: str) -> bool:
    account = client.get("/auth/account", headers={"Accept": "application/json"}).get_json()
    return any(each["id"] == session_id and each["current"] for each in account["sessions"])


# Cookies that a neighbour planted, or that are the application's own


def test_a_dead_planted_session_does_not_sign_the_person_out(worker: Worker, sign_in: SignIn) -> None:
    app = worker()
    client, eve = app.test_client(), app.test_client()
    sign_in(client, ADA)
    sign_in(eve, "eve@example.com")
    planted = eve.get_cookie("session")
    assert planted is not None
    post(eve, "/auth/sign-out", {})
    client.set_cookie("session", planted.value)
    assert client.get("/dashboard").text == f"Hello {ADA}"
    assert client.get_cookie("remember_token") is not None
    assert client.get("/dashboard").text == f"Hello {ADA}"


@pytest.mark.parametrize("cookie", ["Müller", "7"])
def test_the_applications_own_remember_cookie_may_hold_any_id(worker: Worker, cookie: str) -> None:
    app = worker()

    class Member:
        is_active, is_authenticated, is_anonymous = True, True, False
        email = "member"

        def get_id(self) -> str:
            return cookie

    loader: Any = app.login_manager._user_callback  # type: ignore[attr-defined]
    loader.own = lambda user_id: Member() if user_id == cookie else None
    client = app.test_client()
    with app.test_request_context():
        value = encode_cookie(cookie)
    client.set_cookie("remember_token", value)
    assert client.get("/dashboard").text == "Hello member"


def test_an_id_that_is_a_number_is_the_applications_own(worker: Worker) -> None:
    app = worker()

    class Member:
        is_active, is_authenticated, is_anonymous = True, True, False
        email = "member"

    loader: Any = app.login_manager._user_callback  # type: ignore[attr-defined]
    loader.own = lambda user_id: Member() if user_id == 7 else None
    client = app.test_client()
    with client.session_transaction() as session:
        session["_user_id"] = 7
    assert client.get("/dashboard").text == "Hello member"


def test_the_anonymous_session_is_kept_where_it_is_named(worker: Worker, sign_in: SignIn) -> None:
    client = worker(CHATBOTKIT_AUTH_SESSION_KEEP=("cart",)).test_client()
    with client.session_transaction() as session:
        session.update(cart=["tea"], planted="by somebody who was here before")
    sign_in(client, ADA)
    with client.session_transaction() as session:
        assert session["cart"] == ["tea"]
        assert "planted" not in session


@pytest.mark.parametrize(
    ("settings", "attributes"),
    [
        ({"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_SAMESITE": "None"}, ["Secure", "SameSite=None", "Path=/"]),
        ({"SESSION_COOKIE_SAMESITE": "Strict"}, ["SameSite=Strict"]),
        ({"SESSION_COOKIE_DOMAIN": "localhost"}, ["Domain=localhost"]),
        ({"SESSION_COOKIE_PATH": "/"}, ["Path=/"]),
        ({"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_PARTITIONED": True}, ["Secure", "Partitioned"]),
        ({"SESSION_COOKIE_SAMESITE": "Strict", "REMEMBER_COOKIE_SAMESITE": "Lax"}, ["SameSite=Lax"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("late", [False, True], ids=["before init_app", "after init_app"])
def test_the_remember_cookie_follows_the_session_cookie(
    worker: Worker, sign_in: SignIn, settings: dict[str, Any], attributes: list[str], late: bool
) -> None:
    # What follows may be set until the first request; which setting is the application's own is decided in init_app.
    followed = {key: value for key, value in settings.items() if late and not key.startswith("REMEMBER_")}
    app = worker(**{key: value for key, value in settings.items() if key not in followed})
    app.config.update(followed)
    client = app.test_client()
    for name in ("session_cookie", "remember_token"):
        assert client.get_cookie(name) is None
    answer = sign_in(client, ADA)
    (remember,) = (each for each in answer.headers.getlist("Set-Cookie") if each.startswith("remember_token="))
    for attribute in attributes:
        assert attribute in remember.split("; "), remember


# Keys


@pytest.mark.parametrize("late", [False, True])
def test_keys_may_be_any_text_and_come_late(worker: Worker, sign_in: SignIn, late: bool) -> None:
    first = worker(SECRET_KEY="ключ старый")
    client = first.test_client()
    sign_in(client, ADA)
    second = worker(**({} if late else {"SECRET_KEY": "ключ", "SECRET_KEY_FALLBACKS": ["ключ старый"]}))
    if late:
        second.config.update(SECRET_KEY="ключ", SECRET_KEY_FALLBACKS=["ключ старый"])
    assert is_in(copy_of(client, second))
    moved = restarted(client, second)
    assert is_in(moved)
    assert sign_in(second.test_client(), ADA).status_code == 200


# Ways in of the application's own


def test_login_user_opens_a_session_that_can_be_ended(worker: Worker, sign_in: SignIn) -> None:
    app = worker()

    @app.get("/other-way/<user_id>")
    def other_way(user_id: str) -> str:
        return str(login_user(auth_of(app).adapter.get(user_id), remember=True))

    user_id = sign_in(app.test_client(), ADA).get_json()["user"]["id"]
    client = app.test_client()
    assert client.get(f"/other-way/{user_id}").text == "True"
    assert is_in(client)
    assert is_in(restarted(client))
    # Nobody has proved an address here.
    assert client.get("/bank").status_code == 302
    with app.app_context():
        (record,) = (each for each in auth_of(app).sessions(user_id) if each.method == "application")
        assert (record.identifier, record.proved_at) == (None, None)
        auth_of(app).end_sessions(user_id)
    assert not is_in(client)


def test_login_user_with_somebody_unknown_says_what_to_do(worker: Worker) -> None:
    app = worker()

    @app.get("/other-way")
    def other_way() -> str:
        with pytest.raises(LookupError, match=r"current_auth\.sign_in"):
            login_user(User(id="nobody", email=ADA))
        return "refused"

    client = app.test_client()
    assert client.get("/other-way").text == "refused"
    assert not is_in(client)


def test_an_application_signs_somebody_in_by_id(worker: Worker, sign_in: SignIn) -> None:
    app = worker()
    heard: list[tuple[str, str]] = []

    @app.get("/become/<user_id>")
    def become(user_id: str) -> str:
        return str(auth_of(app).sign_in(user_id).email)

    admin = app.test_client()
    user_id = sign_in(app.test_client(), ADA).get_json()["user"]["id"]
    sign_in(admin, "root@example.com")

    def hear_in(_app: Flask, user: User, method: str, **_more: object) -> None:
        heard.append((user.email, method))

    def hear_out(_app: Flask, user: User) -> None:
        heard.append((user.email, "out"))

    before = copy_of(admin)
    with user_signed_in.connected_to(hear_in, app), user_signed_out.connected_to(hear_out, app):
        assert admin.get(f"/become/{user_id}").text == ADA
        assert admin.get("/dashboard").text == f"Hello {ADA}"
        assert admin.get("/leave").status_code == 200
    assert heard == [(ADA, "application"), (ADA, "out")]
    assert not is_in(before), "the session before was dropped"


def test_nobody_becomes_somebody_who_is_suspended_or_refused(worker: Worker, sign_in: SignIn) -> None:
    app = worker()

    @app.get("/become/<user_id>")
    def become(user_id: str) -> str:
        with pytest.raises(SignInDenied):
            auth_of(app).sign_in(user_id)
        return "refused"

    user_id = sign_in(app.test_client(), ADA).get_json()["user"]["id"]
    with app.app_context():
        auth_of(app).suspend(user_id)
    assert app.test_client().get(f"/become/{user_id}").text == "refused"
    with app.app_context():
        auth_of(app).resume(user_id)
    app.extensions["test_auth"].sign_in_callback(lambda identifier, user: False)
    assert app.test_client().get(f"/become/{user_id}").text == "refused"


def test_flask_logins_test_client_signs_in(worker: Worker, sign_in: SignIn) -> None:
    app = worker()
    user_id = sign_in(app.test_client(), ADA).get_json()["user"]["id"]
    user = auth_of(app).adapter.get(user_id)
    app.test_client_class = FlaskLoginClient
    client = app.test_client(user=user)
    assert client.get("/dashboard").text == f"Hello {ADA}"
    assert client.get("/dashboard").text == f"Hello {ADA}"


def test_the_users_of_an_own_test_client_are_nobody_in_production(worker: Worker, sign_in: SignIn) -> None:
    app = worker()
    user_id = sign_in(app.test_client(), ADA).get_json()["user"]["id"]
    app.testing = False
    client = app.test_client()
    with client.session_transaction() as session:
        session["_user_id"] = user_id
    assert not is_in(client)


def test_a_sign_out_by_strong_protection_ends_the_row(worker: Worker, sign_in: SignIn) -> None:
    app = worker(SESSION_PROTECTION="strong")
    client = app.test_client()
    user_id = sign_in(client, ADA).get_json()["user"]["id"]
    copy = copy_of(client)
    assert copy.get("/dashboard", headers={"User-Agent": "a thief's"}).status_code == 302
    with app.app_context():
        assert auth_of(app).sessions(user_id) == []
    assert not is_in(client)


@pytest.mark.parametrize("away", ["get_session", "end_session"])
def test_a_sign_in_ends_well_where_the_session_before_cannot_be_ended(
    worker: Worker, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    app = worker()
    client = app.test_client()
    sign_in(client, ADA)
    complete = auth_of(app).store.complete

    def fail(*_args: object, **_named: object) -> None:
        raise StoreError("gone for a moment")

    def complete_and_break(*args: Any, **named: Any) -> bool:
        done = bool(complete(*args, **named))
        monkeypatch.setattr(auth_of(app).store, away, fail)
        return done

    monkeypatch.setattr(auth_of(app).store, "complete", complete_and_break)
    assert sign_in(client, ADA).status_code == 200
    monkeypatch.undo()
    assert is_in(client)


# Remembered


@pytest.mark.parametrize("when", ["sign-in", "verify"])
@pytest.mark.parametrize("value", [False, "false", "0"])
def test_remember_false_is_for_this_browser_session_only(
    worker: Worker, sign_in: SignIn, chatbotkit_outbox: list[Message], when: str, value: object
) -> None:
    client = worker().test_client()
    sign_in(client, ADA)
    assert client.get_cookie("remember_token") is not None
    fields = {"remember": value}
    post(client, "/auth/sign-in", {"email": ADA, **(fields if when == "sign-in" else {})})
    code = read_code(chatbotkit_outbox[-1])
    answer = post(client, "/auth/verify", {"code": code, **(fields if when == "verify" else {})})
    assert answer.status_code == 200
    assert client.get_cookie("remember_token") is None
    assert is_in(client)
    assert not is_in(restarted(client))
