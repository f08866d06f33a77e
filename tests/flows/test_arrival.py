"""The notice of a sign-in from a browser that is not known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import MailError, User, notice_failed
from tests.support.apps import Clock, MakeApp
from tests.support.steps import post

ADA, BEN = "ada@example.com", "ben@example.com"
PHONE = "Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Mobile Safari/537.36"
ON = {"CHATBOTKIT_AUTH_NOTICES": True, "CHATBOTKIT_AUTH_ORIGIN": "https://shop.example"}

SignIn = Callable[..., TestResponse]
Outbox = list[Message]


@pytest.fixture(params=["partner", "contact"])
def app(make_app: MakeApp, request: pytest.FixtureRequest) -> Flask:
    return make_app(CHATBOTKIT_AUTH_ADAPTER=request.param, **ON)


def notices(outbox: Outbox) -> list[Message]:
    return [each for each in outbox if each.subject == "New sign-in to Shop"]


def test_one_notice_for_each_browser_and_none_for_the_first(
    app: Flask, client: FlaskClient, sign_in: SignIn, chatbotkit_outbox: Outbox
) -> None:
    sign_in(client, ADA)
    assert notices(chatbotkit_outbox) == [], "the sign-in that made the account"
    sign_in(client, ADA)
    assert notices(chatbotkit_outbox) == [], "the same browser"
    phone = app.test_client()
    phone.environ_base["HTTP_USER_AGENT"] = PHONE
    sign_in(phone, ADA)
    (notice,) = notices(chatbotkit_outbox)
    assert notice.recipients == [ADA]
    for text in (notice.body, notice.html):
        assert "Chrome on Android" in str(text)
        assert "12:00 UTC on 1 January 2026" in str(text)
        assert "https://shop.example/auth/account" in str(text)
    post(phone, "/auth/sign-out", {})
    sign_in(phone, ADA)
    assert len(notices(chatbotkit_outbox)) == 1, "it is known by now, and stays so when somebody signs out"


def test_a_browser_is_known_for_an_address_and_not_for_everybody(
    app: Flask, client: FlaskClient, sign_in: SignIn, chatbotkit_outbox: Outbox
) -> None:
    sign_in(app.test_client(), BEN)
    sign_in(client, ADA)
    sign_in(client, BEN)
    assert [each.recipients for each in notices(chatbotkit_outbox)] == [[BEN]]


def test_a_browser_is_forgotten_in_time(
    app: Flask, client: FlaskClient, sign_in: SignIn, chatbotkit_outbox: Outbox, clock: Clock
) -> None:
    sign_in(client, ADA)
    clock.advance(181 * 24 * 3600)
    sign_in(client, ADA)
    assert len(notices(chatbotkit_outbox)) == 1


def test_without_the_switch_nothing_is_sent(make_app: MakeApp, sign_in: SignIn, chatbotkit_outbox: Outbox) -> None:
    app = make_app()
    for _ in range(2):
        sign_in(app.test_client(), ADA)
    assert len(chatbotkit_outbox) == 2


def test_a_mail_server_that_is_down_keeps_nobody_out(
    app: Flask, client: FlaskClient, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sign_in(client, ADA)
    heard: list[Any] = []

    def hear(_app: Flask, kind: str, user: User) -> None:
        heard.append((kind, user.email))

    def fail(*_: object, **__: object) -> None:
        raise MailError("the mail server is away", for_everybody=True)

    other = app.test_client()
    monkeypatch.setattr(app.extensions["chatbotkit_auth"].mailer, "deliver", fail)
    with notice_failed.connected_to(hear, app):
        assert sign_in(other, ADA).status_code == 200
    assert other.get("/dashboard").status_code == 200
    assert heard == [("new_sign_in", ADA)]
    assert "the notice new_sign_in was not sent: the mail server is away" in caplog.text


def test_who_is_let_in_by_the_application_is_not_told(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_outbox: Outbox
) -> None:
    app = make_app(**ON)
    state = app.extensions["chatbotkit_auth"]
    app.add_url_rule("/enter", "enter", lambda: state.sign_in(state.adapter.get_by_email(ADA)).email)
    sign_in(app.test_client(), ADA)
    assert app.test_client().get("/enter").text == ADA
    assert notices(chatbotkit_outbox) == []


def test_what_is_answered_to_a_request_for_a_code_is_as_before(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_outbox: Outbox
) -> None:
    answers = []
    for config in ({}, ON):
        app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, **config)
        with app.app_context():
            app.extensions["chatbotkit_auth"].adapter.get_by_email(ADA) or app.extensions[
                "chatbotkit_auth"
            ].adapter.create(ADA)
        for email in (ADA, "nobody@example.com"):
            answer = post(app.test_client(), "/auth/sign-in", {"email": email})
            answers.append((answer.status_code, {**answer.get_json()["challenge"], "email": ""}))
    assert len({str(each) for each in answers}) == 1
