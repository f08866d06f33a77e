"""Known devices: the owner of an address comes in while strangers use up its limits; and what the cookie is not worth."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.steps import ADA, ask, error, post, verify

NAME = "chatbotkit_auth_device"
ONE_REQUEST = {"request:email": "1/hour"}

SignIn = Callable[..., TestResponse]


def sign_out(client: FlaskClient) -> None:
    assert post(client, "/auth/sign-out", {}).status_code == 200


def device_cookie(client: FlaskClient) -> str:
    cookie = client.get_cookie(NAME)
    assert cookie is not None
    return cookie.value


def nonces(value: str) -> list[str]:
    return [nonce for nonce, _digest, _at in json.loads(payload(value))]


def payload(value: str) -> bytes:
    text = value.rpartition(".")[0]
    data = base64.urlsafe_b64decode(text.lstrip(".") + "=" * (-len(text.lstrip(".")) % 4))
    return zlib.decompress(data) if text.startswith(".") else data


def test_the_owner_comes_in_while_strangers_use_up_both_limits(
    app: Flask, sign_in: SignIn, chatbotkit_outbox: list[Message]
) -> None:
    owner = app.test_client()
    sign_in(owner, ADA)
    sign_out(owner)
    for _ in range(4):
        stranger = app.test_client()
        assert ask(stranger).status_code == 200
        for _ in range(5):
            assert error(verify(stranger, "zzzzzz")) == (400, "invalid_code")
    assert error(ask(app.test_client())) == (429, "rate_limited")
    assert ask(owner).status_code == 200
    assert verify(owner, read_code(chatbotkit_outbox[-1])).status_code == 200
    newcomer = app.test_client()
    assert error(ask(newcomer)) == (429, "rate_limited")


def test_strangers_cannot_use_up_the_owners_guesses(
    app: Flask, clock: Clock, sign_in: SignIn, chatbotkit_outbox: list[Message]
) -> None:
    owner, stranger = app.test_client(), app.test_client()
    sign_in(owner, ADA)
    sign_out(owner)
    for _ in range(4):
        ask(stranger)
        for _ in range(5):
            verify(stranger, "zzzzzz")
    clock.advance(15 * 60)
    ask(stranger)
    assert error(verify(stranger, read_code(chatbotkit_outbox[-1]))) == (429, "rate_limited")
    ask(owner)
    assert verify(owner, read_code(chatbotkit_outbox[-1])).status_code == 200


def test_a_used_up_device_is_refused_and_takes_nothing_of_the_shared_limit(make_app: MakeApp, sign_in: SignIn) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:device": "1/hour"})
    owner = app.test_client()
    sign_in(owner, ADA)
    assert ask(owner).status_code == 200
    assert error(ask(owner)) == (429, "rate_limited")
    for _ in range(4):
        assert ask(app.test_client()).status_code == 200


def test_a_device_is_known_for_those_who_proved_their_address_there(make_app: MakeApp, sign_in: SignIn) -> None:
    client = make_app(CHATBOTKIT_AUTH_RATE_LIMITS=ONE_REQUEST).test_client()
    sign_in(client, "eve@example.com")
    assert ask(client).status_code == 200
    assert error(ask(client)) == (429, "rate_limited")
    assert ask(client, "eve@example.com").status_code == 200


def test_the_sixth_person_takes_the_place_of_the_first(make_app: MakeApp, sign_in: SignIn) -> None:
    client = make_app(CHATBOTKIT_AUTH_RATE_LIMITS=ONE_REQUEST).test_client()
    people = [f"person{number}@example.com" for number in range(6)]
    for person in people:
        sign_in(client, person)
    assert len(nonces(device_cookie(client))) == 5
    assert len(device_cookie(client)) < 1024
    assert error(ask(client, people[0])) == (429, "rate_limited")
    for person in people[1:]:
        assert ask(client, person).status_code == 200


def test_each_proof_gives_a_new_nonce_so_that_a_planted_one_is_worth_nothing(
    make_app: MakeApp, sign_in: SignIn
) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:device": "2/hour"})
    client = app.test_client()
    sign_in(client, ADA)
    planted = device_cookie(client)
    sign_in(client, ADA)
    assert not set(nonces(planted)) & set(nonces(device_cookie(client)))
    # Whoever has the one before uses up a bucket that nobody else has.
    attacker = app.test_client()
    attacker.set_cookie(NAME, planted)
    ask(attacker)
    assert error(ask(attacker)) == (429, "rate_limited")
    assert ask(client).status_code == 200


def test_the_cookie_outlives_a_sign_out_and_ends_after_its_lifetime(
    make_app: MakeApp, clock: Clock, sign_in: SignIn
) -> None:
    client = make_app(CHATBOTKIT_AUTH_RATE_LIMITS=ONE_REQUEST).test_client()
    sign_in(client, ADA)
    value = device_cookie(client)
    sign_out(client)
    assert device_cookie(client) == value
    clock.advance(179 * 86400)
    client.set_cookie(NAME, value)
    assert [ask(client).status_code for _ in range(2)] == [200, 200]
    clock.advance(2 * 86400)
    client.set_cookie(NAME, value)
    assert [ask(client).status_code for _ in range(2)] == [200, 429]


def test_the_cookie_says_nothing_and_signs_nobody_in(app: Flask, sign_in: SignIn) -> None:
    client = app.test_client()
    answer = sign_in(client, ADA)
    (line,) = [each for each in answer.headers.getlist("Set-Cookie") if each.startswith(NAME)]
    assert "HttpOnly" in line
    assert "SameSite=Lax" in line
    assert "Max-Age=15552000" in line
    value = device_cookie(client)
    assert b"ada" not in payload(value)
    copy = app.test_client()
    copy.set_cookie(NAME, value)
    assert copy.get("/auth/session").get_json()["user"] is None


def test_over_https_the_cookie_has_a_name_that_no_neighbour_can_plant(
    make_app: MakeApp, chatbotkit_outbox: list[Message]
) -> None:
    client = make_app(SESSION_COOKIE_SECURE=True, PREFERRED_URL_SCHEME="https").test_client()
    headers = {"Referer": "https://localhost/auth/verify"}
    token = client.get("/auth/session", base_url="https://localhost").get_json()["csrf_token"]
    headers["X-CSRFToken"] = token
    client.post("/auth/sign-in", json={"email": ADA}, headers=headers, base_url="https://localhost")
    answer = client.post(
        "/auth/verify", json={"code": read_code(chatbotkit_outbox[0])}, headers=headers, base_url="https://localhost"
    )
    assert answer.status_code == 200
    (line,) = [each for each in answer.headers.getlist("Set-Cookie") if NAME in each]
    assert line.startswith(f"__Host-{NAME}=")
    assert "Secure" in line
    assert "Path=/" in line
    assert "Domain" not in line


def test_without_a_lifetime_there_is_no_cookie(make_app: MakeApp, sign_in: SignIn) -> None:
    app = make_app(CHATBOTKIT_AUTH_DEVICE_LIFETIME=0, CHATBOTKIT_AUTH_RATE_LIMITS=ONE_REQUEST)
    known = make_app().test_client()
    sign_in(known, ADA)
    client = app.test_client()
    client.set_cookie(NAME, device_cookie(known))
    answer = sign_in(client, ADA)
    assert NAME not in str(answer.headers)
    assert error(ask(client)) == (429, "rate_limited")


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "x",
        "é",
        "\ud83d",
        "." * 10,
        "W10.",
        base64.urlsafe_b64encode(json.dumps([["n", "d", 9_999_999_999]]).encode()).decode() + ".AAAA",
        "A" * 100_000,
        "null",
        "%00",
    ],
)
def test_a_forged_cookie_is_no_device(make_app: MakeApp, forged: str) -> None:
    client = make_app(CHATBOTKIT_AUTH_RATE_LIMITS=ONE_REQUEST).test_client()
    for expected in (200, 429):
        token = client.get("/auth/session").get_json()["csrf_token"]
        session = client.get_cookie("session")
        assert session is not None
        cookie = f"session={session.value}; {NAME}={forged}".encode("utf-8", "surrogatepass").decode("latin-1")
        stranger = client.application.test_client(use_cookies=False)
        answer = stranger.post("/auth/sign-in", json={"email": ADA}, headers={"X-CSRFToken": token, "Cookie": cookie})
        assert answer.status_code == expected


@pytest.mark.parametrize(
    "rows", [None, 5, "text", [1], [["a"]], [["a", "b", "c"]], {"a": 1}, [[1, 2, 3, 4]], [[None, None, "x"]]]
)
def test_a_signed_cookie_of_another_shape_is_no_device(make_app: MakeApp, rows: Any) -> None:
    from flask_chatbotkit_auth import devices

    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS=ONE_REQUEST)
    with app.app_context():
        value = str(devices._serializer().dumps(rows))
    client = app.test_client()
    client.set_cookie(NAME, value)
    assert [ask(client).status_code for _ in range(2)] == [200, 429]


def test_a_device_is_still_known_after_the_secret_key_changed(make_app: MakeApp, sign_in: SignIn) -> None:
    before = make_app(SECRET_KEY="old").test_client()
    sign_in(before, ADA)
    after = make_app(
        SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"], CHATBOTKIT_AUTH_RATE_LIMITS=ONE_REQUEST
    ).test_client()
    after.set_cookie(NAME, device_cookie(before))
    assert [ask(after).status_code for _ in range(3)] == [200, 200, 200]
    stranger = make_app(SECRET_KEY="new", CHATBOTKIT_AUTH_RATE_LIMITS=ONE_REQUEST).test_client()
    stranger.set_cookie(NAME, device_cookie(before))
    assert [ask(stranger).status_code for _ in range(2)] == [200, 429]


def test_a_new_browser_is_told_about_once(make_app: MakeApp, sign_in: SignIn, chatbotkit_outbox: list[Message]) -> None:
    app = make_app(CHATBOTKIT_AUTH_NOTICES=True, CHATBOTKIT_AUTH_ORIGIN="http://localhost")

    def notices() -> int:
        return len([mail for mail in chatbotkit_outbox if "New sign-in" in (mail.subject or "")])

    first = app.test_client()
    sign_in(first, ADA)
    assert notices() == 0, "the account is new"
    sign_in(first, ADA)
    assert notices() == 0, "the browser is known"
    second = app.test_client()
    sign_in(second, ADA)
    assert notices() == 1
    sign_in(second, ADA)
    assert notices() == 1


def test_a_device_can_be_forgotten(make_app: MakeApp, sign_in: SignIn) -> None:
    client = make_app(CHATBOTKIT_AUTH_RATE_LIMITS=ONE_REQUEST).test_client()
    sign_in(client, ADA)
    assert "Forget this device" in client.get("/auth/account").text
    answer = post(client, "/auth/account/device/forget", {})
    assert answer.get_json() == {"forgotten": True}
    assert client.get_cookie(NAME) is None
    assert "Forget this device" not in client.get("/auth/account").text
    assert error(ask(client)) == (429, "rate_limited")
