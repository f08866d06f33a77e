"""Texts that a database refuses, from a client that may write anything: they are refused or cut, and no failure of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message

from flask_chatbotkit_auth.stores import Store
from flask_chatbotkit_auth.testing import SoftwareAuthenticator
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp
from tests.support.sites import auth_of
from tests.support.steps import ADA, error, post

SignIn = Callable[..., Any]

ON = {
    "CHATBOTKIT_AUTH_EVENTS": True,
    "CHATBOTKIT_AUTH_PASSKEYS": True,
    "CHATBOTKIT_AUTH_APP_SESSIONS": True,
    "CHATBOTKIT_AUTH_ORIGIN": "http://localhost",
}
HALF = "\ud800"
NUL = "\0"


every_store = pytest.mark.parametrize(
    "store_url", ["sqlite", "postgresql", "mariadb", "redis"], indirect=True, scope="module"
)


@pytest.fixture
def app(make_app: MakeApp, store: Store) -> Flask:
    return make_app(store=store, **ON)


@pytest.fixture
def signed_in(app: Flask, sign_in: SignIn) -> FlaskClient:
    client = app.test_client()
    sign_in(client, ADA)
    return client


@every_store
@pytest.mark.parametrize(
    "headers",
    [{"HTTP_USER_AGENT": f"a{NUL}b"}, {"REMOTE_ADDR": f"10.0.0.1{NUL}"}, {"REMOTE_ADDR": "unknown, " * 20}],
    ids=["program", "address", "long address"],
)
def test_what_a_client_says_of_itself_keeps_nobody_out(
    app: Flask, chatbotkit_outbox: list[Message], headers: dict[str, str]
) -> None:
    client = app.test_client()
    token = {"X-CSRFToken": client.get("/auth/session").get_json()["csrf_token"]}
    asked = client.post("/auth/sign-in", json={"email": ADA}, headers=token, environ_overrides=headers)
    assert asked.status_code == 200
    code = {"code": read_code(chatbotkit_outbox[-1])}
    answer = client.post("/auth/verify", json=code, headers=token, environ_overrides=headers)
    assert answer.status_code == 200, answer.text
    assert client.get("/auth/account", environ_overrides=headers).status_code == 200
    user_id = answer.get_json()["user"]["id"]
    (session,) = auth_of(app).store.list_sessions(user_id, now=auth_of(app).clock())
    assert NUL not in f"{session.ip}{session.user_agent}"
    kinds = [each.kind for each in auth_of(app).store.events(user_id=user_id)]
    assert "sign_in" in kinds


@every_store
@pytest.mark.parametrize("id", ["%00", "a%00b", "%ED%A0%80", "x" * 3000, "%F0%9F%A9%BA"], ids=repr)
def test_an_id_that_nothing_can_have_is_nobodys(signed_in: FlaskClient, id: str) -> None:
    assert error(post(signed_in, f"/auth/account/sessions/{id}/end", {})) == (404, "no_session")
    assert error(post(signed_in, f"/auth/account/passkeys/{id}/name", {"name": "key"})) == (404, "unknown_passkey")
    assert error(post(signed_in, f"/auth/account/passkeys/{id}/remove", {})) == (404, "unknown_passkey")


@every_store
@pytest.mark.parametrize("name", [HALF, f"my {HALF}key", f"my{NUL}key", "my\u202ekey", "my\r\nkey"], ids=ascii)
def test_the_name_of_a_passkey_or_an_app_is_one_line_that_can_be_shown(
    app: Flask, signed_in: FlaskClient, chatbotkit_outbox: list[Message], name: str
) -> None:
    authenticator = SoftwareAuthenticator("http://localhost")
    options = post(signed_in, "/auth/account/passkeys/options", {}).get_json()["publicKey"]
    body = {"credential": authenticator.create(options), "name": name}
    added = post(signed_in, "/auth/account/passkeys", body)
    assert added.status_code == 200, added.text
    assert added.get_json()["passkey"]["name"].isprintable()
    renamed = post(signed_in, f"/auth/account/passkeys/{added.get_json()['passkey']['id']}/name", {"name": name})
    assert renamed.status_code == (400 if name == HALF else 200), renamed.text
    phone = app.test_client()
    token = phone.post("/auth/app/sign-in", json={"email": ADA, "name": name}).get_json()["challenge"]["token"]
    body = {"challenge": token, "code": read_code(chatbotkit_outbox[-1])}
    answer = phone.post("/auth/app/verify", json=body)
    assert answer.status_code == 200, answer.text
    sessions = signed_in.get("/auth/account", headers={"Accept": "application/json"}).get_json()["sessions"]
    assert all((each["name"] or "").isprintable() for each in sessions)


def test_what_stands_in_place_of_an_address_writes_nothing_into_the_log_but_a_text(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_app().test_client()
    client.post("/auth/sign-in", json={"email": ADA}, environ_overrides={"REMOTE_ADDR": "\x1b[2Junknown\x9b\x7f"})
    (line,) = [each.getMessage() for each in caplog.records if "refused to" in each.getMessage()]
    assert line.isprintable()
    assert "unknown" in line
