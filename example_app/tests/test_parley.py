"""What Parley promises to people, each promise a test: a tutorial for the fixtures of flask-chatbotkit-auth.

``sign_in`` goes the whole way, by mail and code, for tests of the way itself; ``signed_in`` is for what comes after it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from example_app import BACKSTORY, PLANS
from flask_chatbotkit_auth import User, current_auth
from flask_chatbotkit_auth.testing import Clock, Sandbox

SignIn = Callable[..., TestResponse]
SignedIn = Callable[..., User]
Post = Callable[..., TestResponse]


HELLO = [{"type": "user", "text": "Hello"}]

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


def test_a_code_works_for_ten_minutes(client: FlaskClient, post: Post, chatbotkit_clock: Clock) -> None:
    post(client, "/auth/sign-in", {"email": "eve@example.com"})
    chatbotkit_clock.advance(timedelta(minutes=10))
    answer = post(client, "/auth/verify", {"code": "000000"})
    assert answer.get_json()["error"]["code"] == "code_expired"


def test_nobody_comes_in_while_the_api_is_away(
    client: FlaskClient, post: Post, sign_in: SignIn, chatbotkit_sandbox: Sandbox
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


def test_the_host_of_parley_answers(
    client: FlaskClient, post: Post, signed_in: SignedIn, chatbotkit_sandbox: Sandbox
) -> None:
    ada = signed_in(client, "ada@example.com")
    answer = post(client, "/chat", {"messages": HELLO})
    assert json.loads(answer.text.splitlines()[-1])["type"] == "result"
    (conversation,) = chatbotkit_sandbox.conversations.values()
    if ada.kind == "partner":
        assert chatbotkit_sandbox.bots[conversation["botId"]]["backstory"] == BACKSTORY
    else:
        assert (conversation["backstory"], conversation["contactId"]) == (BACKSTORY, ada.id)


def test_a_chat_goes_on_and_is_found_again(client: FlaskClient, post: Post, signed_in: SignedIn) -> None:
    signed_in(client, "ada@example.com")
    assert "Nothing here yet." in client.get("/history").text
    place = post(client, "/chat", {"messages": HELLO}).headers["X-Conversation"]
    assert "I have seen 3 messages." in post(client, place, {"messages": HELLO}).text
    id = place.rpartition("/")[2]
    assert f"/dashboard?conversation={id}" in client.get("/history").text
    page = client.get(f"/dashboard?conversation={id}").text
    assert f'action="{place}"' in page
    assert "You said: Hello" in page
    assert post(client, f"/history/{id}/delete").location == "/history"
    assert "Nothing here yet." in client.get("/history").text


def test_nobody_reads_anothers_chat(app: Flask, post: Post, signed_in: SignedIn) -> None:
    ada, eve = app.test_client(), app.test_client()
    signed_in(ada, "ada@example.com")
    signed_in(eve, "eve@example.com")
    place = post(ada, "/chat", {"messages": HELLO}).headers["X-Conversation"]
    id = place.rpartition("/")[2]
    assert eve.get(f"/dashboard?conversation={id}").status_code == 404
    assert post(eve, place, {"messages": HELLO}).status_code == 404
    assert post(eve, f"/history/{id}/delete").status_code == 404


def test_the_chat_is_for_people_who_signed_in(client: FlaskClient, post: Post, chatbotkit_sandbox: Sandbox) -> None:
    answer = post(client, "/chat", {"messages": HELLO})
    assert answer.get_json()["error"]["code"] == "not_signed_in"
    assert chatbotkit_sandbox.requests == []


# Plan, onboarding and administration


def form(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    token = client.get("/auth/session").get_json()["csrf_token"]
    return client.post(path, data={**fields, "csrf_token": token})


def test_a_new_person_says_their_name(client: FlaskClient, signed_in: SignedIn) -> None:
    signed_in(client, "eve@example.com")
    assert "What should we call you?" in client.get("/dashboard").text
    form(client, "/welcome", name="Eve")
    page = client.get("/dashboard").text
    assert "Hello, Eve." in page
    assert "What should we call you?" not in page


def test_a_plan_is_changed_and_has_limits(client: FlaskClient, post: Post, signed_in: SignedIn) -> None:
    eve = signed_in(client, "eve@example.com")
    assert "You are on the free plan." in client.get("/").text
    form(client, "/plan", plan="pro")
    assert form(client, "/plan", plan="golden").status_code == 400
    assert "You are on the pro plan." in client.get("/").text
    with client.application.app_context():
        found = current_auth.adapter.get(eve.id)
    assert found is not None
    assert found.limits == (PLANS["pro"] if eve.kind == "partner" else {})
    assert "Cancel the plan" in client.get("/").text


def test_administrators_see_accounts_and_suspend_them(app: Flask, signed_in: SignedIn) -> None:
    ada, eve = app.test_client(), app.test_client()
    ada_id = signed_in(ada, "ada@example.com", meta={"role": "admin"}).id
    eve_id = signed_in(eve, "eve@example.com").id
    assert eve.get("/admin").status_code == 404
    assert form(eve, f"/admin/{ada_id}", action="suspend").status_code == 404
    assert "eve@example.com" in ada.get("/admin").text
    form(ada, f"/admin/{eve_id}", action="suspend")
    form(ada, f"/admin/{ada_id}", action="suspend")
    page = ada.get("/admin").text
    assert "You cannot suspend yourself." in page
    assert page.count("suspended") == 1
    assert eve.get("/dashboard").status_code == 302
    form(ada, f"/admin/{eve_id}", action="resume")
    assert eve.get("/dashboard").status_code == 200


def test_an_outage_of_the_api_goes_unnoticed_for_a_while(
    client: FlaskClient, signed_in: SignedIn, chatbotkit_sandbox: Sandbox, chatbotkit_clock: Clock
) -> None:
    signed_in(client, "ada@example.com", name="Ada")
    chatbotkit_sandbox.fail("*", status=503)
    chatbotkit_clock.advance(timedelta(hours=23))
    assert "Hello, Ada." in client.get("/dashboard").text


# Leaving


def test_signing_out_leads_home(client: FlaskClient, post: Post, signed_in: SignedIn) -> None:
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
