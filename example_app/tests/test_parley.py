"""What Parley promises to people, each promise a test: a tutorial for the fixtures of flask-chatbotkit-auth.

``sign_in`` goes the whole way, by mail and code, for tests of the way itself; ``signed_in`` is for what comes after it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from example_app import BACKSTORY
from flask_chatbotkit_auth import User, current_auth
from flask_chatbotkit_auth.testing import Clock, Sandbox

SignIn = Callable[..., TestResponse]
SignedIn = Callable[..., User]


def post(client: FlaskClient, path: str, body: dict[str, Any]) -> TestResponse:
    """Send JSON as a page of ours does, with the token against forged requests."""
    token = client.get("/auth/session").get_json()["csrf_token"]
    return client.post(path, json=body, headers={"X-CSRFToken": token}, buffered=True)


# Signing in


def test_a_stranger_becomes_a_person_with_an_account(
    client: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message]
) -> None:
    assert client.get("/dashboard").location == "/auth/sign-in?next=%2Fdashboard"
    answer = sign_in(client, "eve@example.com").get_json()
    assert answer["redirect"] == "/dashboard"
    accounts = {"partner": chatbotkit_sandbox.users, "contact": chatbotkit_sandbox.contacts}[answer["user"]["kind"]]
    assert [each["email"] for each in accounts.values()] == ["eve@example.com"]
    assert chatbotkit_outbox[0].subject.endswith("is your Parley sign-in code")
    assert "Hello, eve@example.com." in client.get("/dashboard").text


def test_a_code_works_for_ten_minutes(client: FlaskClient, chatbotkit_clock: Clock) -> None:
    post(client, "/auth/sign-in", {"email": "eve@example.com"})
    chatbotkit_clock.advance(timedelta(minutes=10))
    answer = post(client, "/auth/verify", {"code": "000000"})
    assert answer.get_json()["error"]["code"] == "code_expired"


def test_nobody_comes_in_while_the_api_is_away(
    client: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    chatbotkit_sandbox.fail("*/list", status=503)
    assert sign_in(client, "eve@example.com").status_code == 503
    chatbotkit_sandbox.heal()
    # The code was right, and is remembered to have been.
    assert post(client, "/auth/verify", {}).status_code == 200


# Signed in


def test_people_are_called_by_their_name(client: FlaskClient, signed_in: SignedIn) -> None:
    signed_in(client, "ada@example.com", name="Ada")
    assert "Hello, Ada." in client.get("/dashboard").text
    assert "Welcome, Ada." in client.get("/").text


def test_the_host_of_parley_answers(client: FlaskClient, signed_in: SignedIn, chatbotkit_sandbox: Sandbox) -> None:
    signed_in(client, "ada@example.com")
    answer = post(client, "/chat", {"messages": [{"type": "user", "text": "Hello"}]})
    assert json.loads(answer.text.splitlines()[-1])["type"] == "result"
    assert chatbotkit_sandbox.requests[-1].json["backstory"] == BACKSTORY


def test_the_chat_is_for_people_who_signed_in(client: FlaskClient, chatbotkit_sandbox: Sandbox) -> None:
    answer = post(client, "/chat", {"messages": [{"type": "user", "text": "Hello"}]})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (401, "not_signed_in")
    assert chatbotkit_sandbox.requests == []


def test_an_outage_of_the_api_goes_unnoticed_for_a_while(
    client: FlaskClient, signed_in: SignedIn, chatbotkit_sandbox: Sandbox, chatbotkit_clock: Clock
) -> None:
    signed_in(client, "ada@example.com", name="Ada")
    chatbotkit_sandbox.fail("*", status=503)
    chatbotkit_clock.advance(timedelta(hours=23))
    assert "Hello, Ada." in client.get("/dashboard").text


# Leaving


def test_signing_out_leads_home(client: FlaskClient, signed_in: SignedIn) -> None:
    signed_in(client, "ada@example.com")
    assert post(client, "/auth/sign-out", {}).get_json()["redirect"] == "/"
    assert client.get("/dashboard").status_code == 302


def test_who_stays_away_for_a_week_signs_in_again(
    client: FlaskClient, signed_in: SignedIn, chatbotkit_clock: Clock
) -> None:
    signed_in(client, "ada@example.com")
    chatbotkit_clock.advance(timedelta(days=7))
    assert client.get("/dashboard").status_code == 302


@pytest.mark.parametrize("leaver", ["ada@example.com", "ben@example.com"])
def test_one_person_can_be_signed_out_everywhere(app: Flask, signed_in: SignedIn, leaver: str) -> None:
    browsers = {email: app.test_client() for email in ("ada@example.com", "ben@example.com")}
    users = {email: signed_in(browser, email) for email, browser in browsers.items()}
    with app.app_context():
        current_auth.end_sessions(users[leaver])
    for email, browser in browsers.items():
        assert browser.get("/dashboard").status_code == (302 if email == leaver else 200)
