"""The fixtures for applications' own tests: what they do is what a person would have done, and reaches no further."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request, request_started
from flask.testing import FlaskClient
from flask_mail import Message
from flask_session import Session
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import (
    APIStatusError,
    InvalidEmail,
    SignInDenied,
    User,
    current_auth,
    user_created,
    user_signed_in,
)
from flask_chatbotkit_auth.clock import utcnow
from flask_chatbotkit_auth.testing import Clock, Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp
from tests.support.sites import auth_of, is_in
from tests.support.steps import post

ADA = "ada@example.com"

SignedIn = Callable[..., User]
SignIn = Callable[..., TestResponse]


def test_a_site_that_is_served_over_https_is_signed_in_to(
    make_app: MakeApp, sign_in: SignIn, post: Callable[..., TestResponse]
) -> None:
    client = make_app(PREFERRED_URL_SCHEME="https", SESSION_COOKIE_SECURE=True).test_client()
    assert sign_in(client, ADA).status_code == 200
    assert is_in(client)
    assert post(client, "/auth/sign-out").status_code == 200


def test_the_prefix_is_that_of_the_application(
    make_app: MakeApp, sign_in: SignIn, post: Callable[..., TestResponse]
) -> None:
    client = make_app(CHATBOTKIT_AUTH_URL_PREFIX="/login").test_client()
    assert sign_in(client, ADA).status_code == 200
    assert is_in(client)
    assert post(client, "/login/sign-out").status_code == 200
    assert sign_in(client, ADA, prefix="/login").status_code == 200


# Signed in at once


@pytest.mark.parametrize("kind", ["partner", "contact"])
@pytest.mark.parametrize("store", ["memory", "sqlite", "redis"])
def test_whoever_is_signed_in_is_so_in_every_respect(
    make_app: MakeApp,
    signed_in: SignedIn,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    chatbotkit_outbox: list[Message],
    kind: str,
    store: str,
) -> None:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/store.db"}
    url = urls.get(store) or request.getfixturevalue("redis_url")
    app = make_app(CHATBOTKIT_AUTH_ADAPTER=kind, CHATBOTKIT_AUTH_STORE_URL=url)
    client, other = app.test_client(), app.test_client()
    user = signed_in(client, "Ada@Example.com", name="Ada", meta={"plan": "pro"})
    assert (user.email, user.name, user.meta["plan"], user.kind) == (ADA, "Ada", "pro", kind)
    assert user.email_verified
    assert signed_in(other, ADA) == user
    assert client.get("/dashboard").text == f"Hello {ADA}"
    assert client.get("/auth/session").get_json()["user"]["id"] == user.id
    assert len(client.get("/auth/account", headers={"Accept": "application/json"}).get_json()["sessions"]) == 2
    assert post(client, "/auth/sign-out", {}).status_code == 200
    assert (is_in(client), is_in(other)) == (False, True)
    with app.app_context():
        assert auth_of(app).end_sessions(user) == 1
    assert not is_in(other)
    assert chatbotkit_outbox == []


def test_the_person_comes_back_after_closing_the_browser(client: FlaskClient, signed_in: SignedIn) -> None:
    signed_in(client, ADA)
    client.delete_cookie("session")
    assert is_in(client)


def test_sessions_on_the_server_are_begun_anew(make_app: MakeApp, signed_in: SignedIn, tmp_path: Path) -> None:
    from cachelib import FileSystemCache

    app = make_app(SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(str(tmp_path / "sessions")))
    Session(app)
    client = app.test_client()
    with client.session_transaction() as session:
        session["basket"] = "of somebody else"
    before = client.get_cookie("session")
    signed_in(client, ADA)
    after = client.get_cookie("session")
    assert before
    assert after
    assert before.value != after.value
    with client.session_transaction() as session:
        assert "basket" not in session
    assert is_in(client)


def test_an_account_is_made_even_where_strangers_may_not_sign_up(
    make_app: MakeApp, signed_in: SignedIn, chatbotkit_sandbox: Sandbox
) -> None:
    client = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, CHATBOTKIT_AUTH_AUTO_UPDATE=False).test_client()
    user = signed_in(client, ADA, name="Ada")
    assert [(each["id"], each["name"]) for each in chatbotkit_sandbox.users.values()] == [(user.id, "Ada")]


def test_an_account_that_is_there_is_used_and_changed_as_told(
    client: FlaskClient, signed_in: SignedIn, chatbotkit_sandbox: Sandbox
) -> None:
    record = chatbotkit_sandbox.add_user(ADA, name="Ada", meta={"plan": "pro"})
    user = signed_in(client, ADA, meta={"seats": 3})
    assert (user.id, user.name, dict(user.meta)) == (record["id"], "Ada", {"plan": "pro", "seats": 3})


def test_hooks_are_called_and_may_refuse(app: Flask, signed_in: SignedIn) -> None:
    auth = app.extensions["test_auth"]
    auth.sign_in_callback(lambda identifier, _user: identifier == ADA or "By invitation only.")
    auth.session_callback(lambda session, _user: {**session, "plan": "free"})
    client = app.test_client()
    with pytest.raises(SignInDenied, match="By invitation only"):
        signed_in(client, "eve@example.com")
    assert not is_in(client)
    signed_in(client, ADA)
    assert client.get("/auth/session").get_json()["plan"] == "free"


def test_what_goes_wrong_is_raised_in_the_test(
    client: FlaskClient, signed_in: SignedIn, chatbotkit_sandbox: Sandbox
) -> None:
    with pytest.raises(InvalidEmail):
        signed_in(client, "nobody")
    chatbotkit_sandbox.fail("*", status=402)
    with pytest.raises(APIStatusError):
        signed_in(client, ADA)


def test_a_middleware_in_the_way_is_told(app: Flask, client: FlaskClient, signed_in: SignedIn) -> None:
    app.wsgi_app = Response("closed for repairs", 503)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=r"answered 503 .* which middleware"):
        signed_in(client, ADA)


def test_a_kit_without_testing_is_told_what_to_set(make_app: MakeApp, sign_in: SignIn) -> None:
    client = make_app(TESTING=False, MAIL_SUPPRESS_SEND=False, MAIL_SERVER=None).test_client()
    with pytest.raises(AssertionError, match=r"mail_unavailable.*Set TESTING=True before init_app"):
        sign_in(client, "ada@example.com")


def test_signals_tell_of_the_sign_in_and_no_limit_counts_it(make_app: MakeApp, signed_in: SignedIn) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "1/day", "verify:email": "1/day"})
    told: list[Any] = []

    def record(_app: Flask, **data: Any) -> None:
        told.append(data)

    with user_signed_in.connected_to(record, app), user_created.connected_to(record, app):
        users = [signed_in(app.test_client(), ADA) for _ in range(3)]
    assert [(each["user"], each["created"]) for each in told] == [(user, False) for user in users]


def test_nobody_else_who_arrives_meanwhile_is_signed_in(app: Flask, signed_in: SignedIn) -> None:
    stranger = app.test_client()
    answers: list[TestResponse] = []

    def arrive(_app: Flask, **_unused: Any) -> None:
        if not answers and request.environ.get("flask_chatbotkit_auth.testing"):
            answers.append(stranger.get("/auth/session", headers={"flask-chatbotkit-auth.testing": "1"}))

    with request_started.connected_to(arrive, app):
        thread = threading.Thread(target=signed_in, args=(app.test_client(), ADA))
        thread.start()
        thread.join()
    assert [answer.get_json()["user"] for answer in answers] == [None]


def test_nothing_stays_behind_that_a_request_could_use(app: Flask, client: FlaskClient, signed_in: SignedIn) -> None:
    signed_in(client, ADA)
    gc.collect()
    assert not list(request_started.receivers_for(app))
    overrides = {"flask_chatbotkit_auth.testing": object()}
    answer = app.test_client().get("/auth/session", environ_overrides=overrides)
    assert answer.get_json()["user"] is None


# The clock


def test_a_mail_of_ones_own_without_a_line_for_the_code_names_the_cure() -> None:
    assert read_code(Message(sender="shop@example.com", body="Hello,\n\n  3f9a2c\n\nand goodbye.")) == "3f9a2c"
    with pytest.raises(ValueError, match=r"alone on an indented line of chatbotkit_auth/mail/code\.txt"):
        read_code(Message(sender="shop@example.com", body="Hello,\n\n3f9a2c\n\nand goodbye."))


def test_a_clock_goes_only_when_told() -> None:
    clock = Clock(datetime(2026, 1, 1, 12, tzinfo=UTC))
    clock.advance(90)
    clock.advance(timedelta(minutes=1))
    assert clock() == clock.now == datetime(2026, 1, 1, 12, 2, 30, tzinfo=UTC)
    clock.freeze(datetime(2025, 6, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now.isoformat() == "2025-06-01T10:00:00+00:00"


def test_a_clock_wants_to_know_of_which_zone() -> None:
    with pytest.raises(ValueError, match="aware"):
        Clock().freeze(datetime(2026, 1, 1))  # noqa: DTZ001  # just that


def test_an_application_from_before_the_clock_goes_by_it(
    app: Flask, client: FlaskClient, sign_in: SignIn, chatbotkit_outbox: list[Message], request: pytest.FixtureRequest
) -> None:
    clock: Clock = request.getfixturevalue("chatbotkit_clock")
    post(client, "/auth/sign-in", {"email": ADA})
    clock.advance(timedelta(minutes=11))
    answer = post(client, "/auth/verify", {"code": read_code(chatbotkit_outbox[0])})
    assert answer.get_json()["error"]["code"] == "code_expired"
    sign_in(client, ADA)
    clock.advance(timedelta(days=8))
    assert not is_in(client)


@pytest.mark.parametrize("storage", ["memory", "sqlite"])
def test_the_windows_of_limits_go_by_the_clock(
    make_app: MakeApp, chatbotkit_clock: Clock, tmp_path: Path, storage: str
) -> None:
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/store.db"}[storage]
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=url, CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "1/15minutes"})

    def ask() -> TestResponse:
        return post(app.test_client(), "/auth/sign-in", {"email": ADA})

    assert ask().status_code == 200
    chatbotkit_clock.advance(timedelta(minutes=14))
    refused = ask()
    assert (refused.status_code, refused.get_json()["error"]["retry_after"]) == (429, 60)
    chatbotkit_clock.advance(60)
    assert ask().status_code == 200


def test_a_test_that_undoes_its_patches_keeps_its_time(
    chatbotkit_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    chatbotkit_clock.advance(timedelta(days=365))
    assert utcnow() == chatbotkit_clock.now


def test_the_time_is_the_real_one_after_the_test() -> None:
    assert utcnow() < datetime.now(UTC) + timedelta(days=1)


def test_the_application_asks_current_auth_for_the_time(make_app: MakeApp, chatbotkit_clock: Clock) -> None:
    with make_app().app_context():
        chatbotkit_clock.advance(timedelta(days=1))
        assert current_auth.clock() == chatbotkit_clock.now
