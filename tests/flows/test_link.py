"""The link in the mail: in the browser that asked for it, once, by a button; and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import ChatBotKitAuth, ConfigurationError, link_used, user_signed_in
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.steps import error, post, signed_in_as
from tests.support.workers import at_once

ADA, BEN = "ada@example.com", "ben@example.com"
ORIGIN = "https://shop.example.com"
ON = {"CHATBOTKIT_AUTH_MAIL_LINK": True, "CHATBOTKIT_AUTH_ORIGIN": ORIGIN}
JSON = {"Accept": "application/json"}
ELSEWHERE = "This link works only in the browser where you asked for it."

Outbox = list[Message]


@pytest.fixture(params=["partner", "contact"])
def app(make_app: MakeApp, request: pytest.FixtureRequest) -> Flask:
    return make_app(CHATBOTKIT_AUTH_ADAPTER=request.param, **ON)


@pytest.fixture
def shop(make_app: MakeApp) -> Flask:
    """An application for what is the same in both modes."""
    return make_app(**ON)


def send(client: FlaskClient, path: str, **body: Any) -> TestResponse:
    return post(client, f"/auth{path}", body)


def ask(client: FlaskClient, email: str = ADA, **more: str) -> None:
    assert send(client, "/sign-in", email=email, **more).status_code == 200


def link_in(mail: Message) -> str:
    found = re.search(rf"{ORIGIN}(/auth/link\?t=[\w-]{{22}})\s", str(mail.body))
    assert found is not None, mail.body
    assert found[0].strip() in str(mail.html)
    return found[1]


def token_in(mail: Message) -> str:
    return link_in(mail).partition("t=")[2]


def press(client: FlaskClient, link: str) -> TestResponse:
    """Open the link's page and press its button."""
    page = client.get(link)
    token = re.search('name="csrf_token" value="([^"]+)"', page.text)
    t = re.search('name="t" value="([^"]+)"', page.text)
    assert token is not None
    assert t is not None
    return client.post("/auth/link", data={"csrf_token": token[1], "t": t[1]})


def test_the_link_signs_in_the_browser_that_asked(app: Flask, client: FlaskClient, chatbotkit_outbox: Outbox) -> None:
    heard: list[str] = []

    def hear_sign_in(_app: Flask, method: str) -> None:
        heard.append(method)

    def hear_link(_app: Flask, user: Any) -> None:
        heard.append(user.email)

    ask(client, next="/dashboard")
    link = link_in(chatbotkit_outbox[-1])
    page = client.get(link)
    assert page.status_code == 200
    assert "Sign in to Shop as a•••@example.com?" in re.sub("<[^>]+>", "", page.text)
    assert signed_in_as(client) is None, "a GET signs nobody in"
    with user_signed_in.connected_to(hear_sign_in, app), link_used.connected_to(hear_link, app):
        answer = press(client, link)
    assert (answer.status_code, answer.location) == (303, "/dashboard")
    assert client.get("/dashboard").text == f"Hello {ADA}"
    assert heard == ["link", ADA]
    # It is used up, and so is the code.
    assert client.get(link).status_code in (302, 400)
    assert error(send(client, "/verify", code=read_code(chatbotkit_outbox[-1]))) == (400, "no_challenge")


def test_another_browser_is_told_where_to_go(shop: Flask, chatbotkit_outbox: Outbox) -> None:
    client, stranger, third = (shop.test_client() for _ in range(3))
    ask(client)
    link = link_in(chatbotkit_outbox[-1])
    ask(third, BEN)  # has a challenge, but another
    for other in (stranger, third):
        page = other.get(link)
        assert page.status_code == 400
        assert ELSEWHERE in page.text
        assert "a•••" not in page.text
        assert error(send(other, "/link", t=token_in(chatbotkit_outbox[0]))) == (400, "no_challenge")
        assert signed_in_as(other) is None
    assert press(client, link).status_code == 303


def test_who_opens_the_link_once_more_sees_who_is_signed_in(shop: Flask, chatbotkit_outbox: Outbox) -> None:
    client = shop.test_client()
    ask(client)
    link = link_in(chatbotkit_outbox[-1])
    assert press(client, link).status_code == 303
    again = client.get(link)
    assert (again.status_code, again.location) == (302, "/auth/account")
    assert ADA in client.get(again.location).text


def test_scanners_change_nothing(shop: Flask, chatbotkit_outbox: Outbox) -> None:
    client = shop.test_client()
    ask(client)
    link = link_in(chatbotkit_outbox[-1])
    for _ in range(3):
        scanner = shop.test_client()
        scanner.head(link)
        scanner.get(link)
        scanner.post("/auth/link", data={"t": token_in(chatbotkit_outbox[-1])})
        send(scanner, "/link", t=token_in(chatbotkit_outbox[-1]))
    assert client.head(link).status_code == 200
    assert signed_in_as(client) is None
    assert press(client, link).status_code == 303


def test_a_post_without_its_token_does_nothing(shop: Flask, chatbotkit_outbox: Outbox) -> None:
    client = shop.test_client()
    ask(client)
    assert error(client.post("/auth/link", json={"t": token_in(chatbotkit_outbox[-1])})) == (403, "csrf")
    assert signed_in_as(client) is None


@pytest.mark.parametrize("t", ["", "x" * 22, "é" * 22, "A" * 5000, "\x00"])
def test_junk_is_nobodys_link(shop: Flask, t: str) -> None:
    client = shop.test_client()
    ask(client)
    assert client.get("/auth/link", query_string={"t": t}).status_code == 400
    assert error(send(client, "/link", t=t)) == (400, "no_challenge")


def test_a_hundred_posts_are_one_sign_in(make_app: MakeApp, tmp_path: object, chatbotkit_outbox: Outbox) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db", **ON)
    client = app.test_client()
    ask(client)
    token, t = client.get("/auth/session").get_json()["csrf_token"], token_in(chatbotkit_outbox[-1])
    cookie = client.get_cookie("session")
    assert cookie is not None
    clients = [app.test_client() for _ in range(100)]
    for each in clients:
        each.set_cookie("session", cookie.value)
    signed_in: list[str] = []

    def hear(_app: Flask, method: str) -> None:
        signed_in.append(method)

    def post_link(number: int) -> int:
        answers: list[TestResponse] = []
        for each in clients[number * 25 : number * 25 + 25]:
            answers.append(each.post("/auth/link", json={"t": t}, headers={"X-CSRFToken": token}))
        return [answer.status_code for answer in answers].count(200)

    with user_signed_in.connected_to(hear, app):
        assert sum(at_once(4, post_link)) == 1
    assert signed_in == ["link"]


def test_after_five_wrong_codes_the_link_is_dead(shop: Flask, chatbotkit_outbox: Outbox) -> None:
    client = shop.test_client()
    ask(client)
    code = read_code(chatbotkit_outbox[-1])
    for _ in range(5):
        send(client, "/verify", code="000000" if code != "000000" else "111111")
    assert error(send(client, "/link", t=token_in(chatbotkit_outbox[-1]))) == (429, "too_many_attempts")
    assert client.get(link_in(chatbotkit_outbox[-1])).location == "/auth/verify"
    assert signed_in_as(client) is None


def test_the_code_first_and_then_the_link(shop: Flask, chatbotkit_outbox: Outbox) -> None:
    client = shop.test_client()
    ask(client)
    assert send(client, "/verify", code=read_code(chatbotkit_outbox[-1])).status_code == 200
    assert error(send(client, "/link", t=token_in(chatbotkit_outbox[-1]))) == (400, "no_challenge")


def test_the_same_link_is_in_each_mail_and_lives_as_the_code_does(
    shop: Flask, chatbotkit_outbox: Outbox, clock: Clock
) -> None:
    client = shop.test_client()
    ask(client)
    clock.advance(31)
    assert send(client, "/resend").status_code == 200
    first, second = map(link_in, chatbotkit_outbox)
    assert first == second
    clock.advance(601)
    assert error(send(client, "/link", t=token_in(chatbotkit_outbox[-1]))) == (400, "code_expired")


@pytest.mark.skipif(version("flask") < "3.1", reason="Flask reads no fallback keys before 3.1")
def test_a_rotated_key_kills_no_link(make_app: MakeApp, tmp_path: object, chatbotkit_outbox: Outbox) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    before = make_app(SECRET_KEY="old", CHATBOTKIT_AUTH_STORE_URL=url, **ON).test_client()
    ask(before)
    app = make_app(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"], CHATBOTKIT_AUTH_STORE_URL=url, **ON)
    client = app.test_client()
    cookie = before.get_cookie("session")
    assert cookie is not None
    client.set_cookie("session", cookie.value)
    assert press(client, link_in(chatbotkit_outbox[-1])).status_code == 303
    assert signed_in_as(client) == ADA


def test_an_outage_after_the_button_costs_no_new_mail(
    app: Flask, client: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    ask(client)
    t = token_in(chatbotkit_outbox[-1])
    chatbotkit_sandbox.fail("*", status=503)
    assert error(send(client, "/link", t=t)) == (503, "upstream_unavailable")
    chatbotkit_sandbox.heal()
    assert send(client, "/link", t=t).status_code == 200
    assert signed_in_as(client) == ADA


def test_the_application_may_refuse(shop: Flask, chatbotkit_outbox: Outbox) -> None:
    auth: ChatBotKitAuth = shop.extensions["test_auth"]
    auth.sign_in_callback(lambda identifier, user: "Not today.")
    client = shop.test_client()
    ask(client)
    assert error(send(client, "/link", t=token_in(chatbotkit_outbox[-1]))) == (403, "sign_in_denied")
    assert signed_in_as(client) is None


def test_a_sender_of_ones_own_gets_the_link(shop: Flask) -> None:
    auth: ChatBotKitAuth = shop.extensions["test_auth"]
    sent: list[str] = []

    @auth.send_verification_request
    def send(url: str) -> None:
        sent.append(url)

    ask(shop.test_client())
    assert re.fullmatch(rf"{ORIGIN}/auth/link\?t=[\w-]{{22}}", sent[0])


def test_only_a_sign_in_has_a_link(make_app: MakeApp, chatbotkit_outbox: Outbox, sign_in: Callable[..., Any]) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_DELETE=True, CHATBOTKIT_AUTH_EMAIL_CHANGE=True, **ON)
    client = app.test_client()
    sign_in(client, ADA)
    for path, body in (("/account/delete/code", {}), ("/account/email", {"email": BEN})):
        send(client, path, **body)
        assert "/auth/link" not in str(chatbotkit_outbox[-1].body)


def test_where_it_is_off_there_is_none(make_app: MakeApp, chatbotkit_outbox: Outbox) -> None:
    client = make_app(CHATBOTKIT_AUTH_ORIGIN=ORIGIN).test_client()
    ask(client)
    assert "link" not in str(chatbotkit_outbox[-1].body)
    assert client.get("/auth/link?t=x").status_code == 404


def test_it_needs_an_origin(make_app: MakeApp) -> None:
    with pytest.raises(ConfigurationError, match="CHATBOTKIT_AUTH_MAIL_LINK needs CHATBOTKIT_AUTH_ORIGIN"):
        make_app(CHATBOTKIT_AUTH_MAIL_LINK=True)
