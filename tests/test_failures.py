"""What an operator is told: a line for every answer of 5xx, fields for machines, a signal each time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response, got_request_exception, request
from flask_login import current_user, login_required
from flask_mail import Message
from itsdangerous import TimestampSigner
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import StoreError, failure
from flask_chatbotkit_auth.chat import stream_completion
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.steps import ADA, ask, token, verify

CAUSE = "the database of the sign-in store is read-only; point CHATBOTKIT_AUTH_STORE_URL at the primary"


def broken(app: Flask, monkeypatch: pytest.MonkeyPatch, sentence: str = CAUSE) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError(sentence)

    store = app.extensions["chatbotkit_auth"].store
    for name in ("add_challenge", "get_session", "get_challenge"):
        monkeypatch.setattr(store, name, fail)


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.levelno == logging.ERROR]


def test_an_answer_of_503_is_one_line_with_cause_and_cure(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken(app, monkeypatch)
    assert ask(app.test_client()).status_code == 503
    (line,) = errors(caplog)
    assert line.getMessage() == f"/auth/sign-in answered 503: {CAUSE}"


def test_more_of_a_kind_is_held_back_and_counted(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    broken(app, monkeypatch)
    client = app.test_client()
    for number in range(5):
        ask(client, f"person{number}@example.com")
    assert len(errors(caplog)) == 1
    broken(app, monkeypatch, "another cause")
    ask(client)
    assert len(errors(caplog)) == 2, "the first of another kind is told at once"
    clock.advance(60)
    broken(app, monkeypatch)
    ask(client)
    assert errors(caplog)[-1].getMessage().endswith("(4 more like it since the last line)")
    clock.advance(60)
    ask(client)
    assert "more like it" not in errors(caplog)[-1].getMessage()


def test_an_outage_is_one_line_however_many_people_sign_in_or_chat(
    make_app: MakeApp,
    chatbotkit_sandbox: Sandbox,
    chatbotkit_outbox: list[Message],
    sign_in: Callable[..., TestResponse],
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make_app(CHATBOTKIT_API_RETRIES=0)

    @app.post("/chat")
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login has no type information
    def chat() -> Response:
        return stream_completion(current_user, request.get_json())

    told: list[object] = []

    def hear(_app: Flask, error: Exception) -> None:
        told.append(error)

    failure.connect(hear, app)
    client, newcomer = app.test_client(), app.test_client()
    sign_in(client, ADA)
    ask(newcomer, "bob@example.com")
    chatbotkit_sandbox.fail("*", status=503)
    for _ in range(3):
        assert verify(newcomer, read_code(chatbotkit_outbox[-1])).status_code == 503
    assert [each.getMessage().partition(":")[0] for each in errors(caplog)] == ["/auth/verify answered 503"]
    chatbotkit_sandbox.heal()
    chatbotkit_sandbox.fail("*", status=500)
    for _ in range(3):
        assert client.post("/chat", json=[{"type": "user", "text": "Hello"}]).status_code == 503
    assert [each.getMessage().partition(":")[0] for each in errors(caplog)[1:]] == ["/chat answered 503"]
    assert len(told) == 6
    chatbotkit_sandbox.heal()
    chatbotkit_sandbox.fail("*", status=429)
    assert client.post("/chat", json=[{"type": "user", "text": "Hello"}]).status_code == 429
    assert len(errors(caplog)) == 2


def test_each_failure_is_signalled_and_so_is_flasks_own_signal(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(app, monkeypatch)
    heard: list[tuple[str, object]] = []

    def ours(sender: object, error: Exception, **_: object) -> None:
        assert sender is app
        heard.append(("failure", error))

    def tracker(_sender: object, exception: Exception, **_: object) -> None:
        heard.append(("got_request_exception", exception))
        raise RuntimeError("the tracker is away")

    with failure.connected_to(ours, app), got_request_exception.connected_to(tracker, app):
        assert ask(app.test_client()).status_code == 503
        assert ask(app.test_client()).status_code == 503
    assert [name for name, _ in heard] == ["failure", "got_request_exception"] * 2
    assert all(isinstance(error, StoreError) for _, error in heard)


def test_what_a_person_did_is_no_failure(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[object] = []

    def listen(_sender: object, **_: object) -> None:
        heard.append(1)

    with failure.connected_to(listen, app):
        assert ask(app.test_client(), "no address").status_code == 400
    assert heard == []
    assert errors(caplog) == []


@pytest.mark.parametrize("json", [True, False], ids=["JSON", "page"])
def test_an_api_that_is_away_is_told(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, caplog: pytest.LogCaptureFixture, json: bool
) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, CHATBOTKIT_API_RETRIES=0, WTF_CSRF_ENABLED=False)
    chatbotkit_sandbox.fail("*/list", status=503)
    headers = {"Accept": "application/json"} if json else {}
    client = app.test_client()
    client.post("/auth/sign-in", data={"email": ADA}, headers=headers, follow_redirects=True)
    (line,) = [each for each in errors(caplog) if "answered" in each.getMessage()]
    assert "503" in line.getMessage()
    assert "/auth/sign-in" in line.getMessage()


@pytest.mark.parametrize(
    ("status", "cure"),
    [(401, "check CHATBOTKIT_API_SECRET"), (402, "choose a plan"), (403, "use a secret of the account")],
)
def test_an_api_that_refuses_us_is_told_with_the_cure(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, caplog: pytest.LogCaptureFixture, status: int, cure: str
) -> None:
    chatbotkit_sandbox.fail("*", status=status)
    assert ask(make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False).test_client()).status_code == 503
    (line,) = errors(caplog)
    assert f"answered {status} " in line.getMessage()
    assert cure in line.getMessage()


def test_a_line_has_fields_for_machines(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken(app, monkeypatch)
    client = app.test_client()
    client.post("/auth/sign-in", json={"email": ADA}, headers={"X-Request-ID": "req-17", "X-CSRFToken": token(client)})
    fields: Any = errors(caplog)[-1]
    assert (fields.event, fields.error_code, fields.request_id) == ("failure", "store_unavailable", "req-17")
    assert 0 <= fields.duration < 60
    assert fields.user_id is None


def test_a_request_id_that_could_forge_a_line_is_left_out(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken(app, monkeypatch)
    client = app.test_client()
    for forged in ("a b", "x" * 129, "ä", '"}'):
        client.get("/dashboard", headers={"X-Request-ID": forged})
        client.post(
            "/auth/sign-in", json={"email": ADA}, headers={"X-Request-ID": forged, "X-CSRFToken": token(client)}
        )
    assert {each.request_id for each in caplog.records} == {None}  # type: ignore[attr-defined]


def test_the_address_is_masked_and_the_person_named(app: Flask, sign_in: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "flask_chatbotkit_auth"):
        sign_in(app.test_client(), ADA)
    assert {each.address for each in caplog.records} == {"a•••@example.com"}  # type: ignore[attr-defined]


# Clocks


def test_a_session_cookie_from_the_future_is_told_once_with_the_seconds(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = app.test_client()
    with monkeypatch.context() as ahead:
        now = TimestampSigner.get_timestamp
        ahead.setattr(TimestampSigner, "get_timestamp", lambda self: now(self) + 30)
        ask(client)
    for _ in range(3):
        client.get("/auth/verify")
    (line,) = errors(caplog)
    assert "seconds in the future was dropped" in line.getMessage()
    assert 25 <= line.args[0] <= 30  # type: ignore[index, operator]
    assert "NTP" in line.getMessage()


def test_a_session_cookie_from_the_future_is_told_of_a_person_whom_the_remember_cookie_signs_in(
    app: Flask,
    sign_in: Callable[..., TestResponse],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = app.test_client()
    with monkeypatch.context() as ahead:
        now = TimestampSigner.get_timestamp
        ahead.setattr(TimestampSigner, "get_timestamp", lambda self: now(self) + 30)
        sign_in(client, ADA)
    assert client.get("/auth/account").status_code == 200
    (line,) = errors(caplog)
    assert "seconds in the future was dropped" in line.getMessage()


@pytest.mark.parametrize("cookie", ["a.b.c", "x", "eyJ.ZZZZZZ.sig", ".é.x", "a.////.c"])
def test_a_forged_time_tells_nothing(app: Flask, caplog: pytest.LogCaptureFixture, cookie: str) -> None:
    client = app.test_client()
    client.set_cookie("session", cookie)
    assert client.get("/auth/sign-in").status_code == 200
    assert errors(caplog) == []
