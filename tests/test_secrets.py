"""No code, secret, token or whole address where it does not belong: logs, exceptions, pages, URLs, ``repr()``.

That none is logged is looked at during every test of the suite, by ``nothing_secret_is_logged`` in ``conftest``; here is
proved that it would be noticed.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_login import current_user
from flask_mail import Message
from sqlalchemy.exc import OperationalError
from werkzeug.debug import DebuggedApplication
from werkzeug.test import Client, TestResponse

from flask_chatbotkit_auth import StoreError, User, exceptions
from flask_chatbotkit_auth.flows import sign_in as flows
from flask_chatbotkit_auth.stores import Challenge, Store
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.leaks import Leaks, secrets_in
from tests.support.steps import ask, resend, verify

ADA = "ada@example.com"
SECRET = "sk-test"
LOG = logging.getLogger("flask_chatbotkit_auth")

SignIn = Callable[..., TestResponse]


def _token(client: FlaskClient) -> str:
    cookie = client.get_cookie("remember_token")
    assert cookie is not None
    return cookie.value.partition("|")[0]


# Logs


@pytest.mark.parametrize(
    "secret", [ADA, SECRET, "cbk-" + "0" * 32, "0" * 64, "0" * 32, "3f9a2c"], ids=lambda secret: secret[:12]
)
@pytest.mark.parametrize("way", ["text", "argument", "exception", "cause"])
def test_a_secret_in_a_record_would_be_noticed(leaks: Leaks, secret: str, way: str) -> None:
    leaks.codes.add("3f9a2c")
    try:
        raise StoreError("gone") from ValueError(secret)
    except StoreError as error:
        found: StoreError | BaseException | None = error if way == "cause" else None
    if way == "exception":
        found = ValueError(secret)
    if way == "text":
        LOG.debug(f"about {secret}")  # noqa: G004  # a slip like those that are looked for
    elif way == "argument":
        LOG.debug("about %s", secret)
    else:
        LOG.debug("about it", exc_info=found)
    assert leaks.take() != []


@pytest.mark.parametrize("text", ["a•••@example.com", "user c34c854556582311ae66477f1", "3f9a2cx", "123 of 456"])
def test_what_is_no_secret_is_none(text: str) -> None:
    assert secrets_in(text, {"3f9a2c"}) == []


def test_a_database_that_fails_quotes_nobody(
    make_app: MakeApp,
    clock: Clock,
    sign_in: SignIn,
    chatbotkit_sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Any,
) -> None:
    # The tables of an application's own engine, whose errors do quote what they were given.
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db")
    client = app.test_client()
    sign_in(client, ADA)
    store = app.extensions["chatbotkit_auth"].store

    def fail(*_args: object, **_named: object) -> None:
        raise StoreError("gone") from OperationalError("UPDATE", {"id": "0" * 64, "snapshot": ADA}, Exception(ADA))

    clock.advance(1000)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("touch_session", "claim_refresh", "save_user"):
            patch.setattr(store, name, fail)
        assert client.get("/dashboard").status_code == 200
        (account,) = chatbotkit_sandbox.users.values()
        account["name"] = "Ada L."  # what has not changed is not written
        with pytest.MonkeyPatch.context() as late:
            late.setattr(store, "claim_refresh", lambda *args, **named: True)
            clock.advance(400)
            assert client.get("/dashboard").status_code == 200
    assert len([record for record in caplog.records if "(gone)" in record.getMessage()]) >= 4
    store.close()


def test_our_own_engines_quote_no_parameters(make_app: MakeApp, tmp_path: Any) -> None:
    for url in (f"sqlite:///{tmp_path}/store.db", "sqlite://"):
        app = make_app(CHATBOTKIT_AUTH_STORE_URL=url)
        store = app.extensions["chatbotkit_auth"].store
        challenge = Challenge(id="0" * 32, identifier=ADA, sent_at=Clock().now, expires_at=Clock().now)
        store.add_challenge(challenge, "0" * 64)
        with pytest.raises(StoreError) as failed:
            store.add_challenge(challenge, "0" * 64)
        chain = [failed.value, failed.value.__cause__]
        assert all(secrets_in(f"{error} {error!r}", set()) == [] for error in chain)
        store.close()


@pytest.mark.parametrize(
    "name", ["x\nuser 1 signed in", "ada@example.com", "0" * 64], ids=["line", "address", "session"]
)
def test_a_path_writes_nothing_of_its_own_into_the_log(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    # Whoever wants, even without an account, can have a refusal logged, under a path of their own making.
    assert client.post(f"/auth/account/sessions/{quote(name)}/end").status_code == 403
    assert "/auth/account/sessions/<session_id>/end refused to 127.0.0.1" in caplog.text
    assert name not in caplog.text


# Exceptions


@pytest.mark.parametrize("id", ["ab" * 32, "x%0AINFO signed in: user admin"])
def test_a_refusal_names_the_rule_and_nothing_of_the_path(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, id: str
) -> None:
    assert client.post(f"/auth/account/sessions/{id}/end", json={}).status_code == 403
    (record,) = caplog.records
    assert record.getMessage() == (
        "/auth/account/sessions/<session_id>/end refused to 127.0.0.1: The CSRF token is missing."
    )


def test_the_refusal_of_an_address_does_not_repeat_it(app: Flask) -> None:
    with app.test_request_context():
        for typed in ("ada@example.com,eve@example.com", "ada@", f"{ADA}\0"):
            with pytest.raises(exceptions.InvalidEmail) as refused:
                flows.request_code(typed)
            assert "ada" not in f"{refused.value!r}"
            assert refused.value.__cause__ is None
            assert refused.value.__suppress_context__


# Pages


@pytest.mark.parametrize("method", ["get_challenge", "try_code", "complete", "add_code"])
def test_the_debug_page_shows_no_secret(
    make_app: MakeApp,
    clock: Clock,
    sign_in: SignIn,
    chatbotkit_outbox: list[Message],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    app = make_app(TESTING=False, MAIL_SUPPRESS_SEND=True, PROPAGATE_EXCEPTIONS=True)
    client = app.test_client()
    ask(client)
    code = read_code(chatbotkit_outbox[0])
    clock.advance(60)

    def broken(self: Store, *args: object, **_named: object) -> None:
        # A mistake in a store, which is no StoreError and quotes what it was given, as far as we give it.
        raise TypeError(f"cannot {args!r}")

    token = client.get("/auth/session").get_json()["csrf_token"]
    monkeypatch.setattr(type(app.extensions["chatbotkit_auth"].store), method, broken)
    cookie = client.get_cookie("session")
    assert cookie is not None
    browser = Client(DebuggedApplication(app))
    browser.set_cookie("session", cookie.value)
    path, body = ("/auth/resend", {}) if method == "add_code" else ("/auth/verify", {"code": code})
    page = browser.post(path, json=body, headers={"X-CSRFToken": token}).text
    assert "TypeError" in page
    assert code not in re.findall(r"\w+", page)
    for secret in (SECRET, "not a secret"):
        assert secret not in page
    if method == "complete":
        assert ADA not in page


def test_a_broken_page_of_the_application_tells_nobodys_address(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_outbox: list[Message]
) -> None:
    app = make_app(TESTING=False, MAIL_SUPPRESS_SEND=True, PROPAGATE_EXCEPTIONS=True)

    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError(f"no page for {current_user!r}")

    client = app.test_client()
    sign_in(client, ADA)
    browser = Client(DebuggedApplication(app))
    for name in ("session", "remember_token"):
        cookie = client.get_cookie(name)
        assert cookie is not None
        browser.set_cookie(name, cookie.value)
    page = browser.get("/broken").text
    assert "a•••@example.com" in page
    assert ADA not in page
    assert _token(client) not in page


def test_no_answer_and_no_url_holds_a_code_or_a_token(
    app: Flask, clock: Clock, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message]
) -> None:
    client = app.test_client()
    token = client.get("/auth/session").get_json()["csrf_token"]
    form = {"csrf_token": token}
    answers = [client.post("/auth/sign-in", data={**form, "email": ADA, "next": "/dashboard"})]
    code = read_code(chatbotkit_outbox[0])
    clock.advance(30)
    answers += [
        client.post("/auth/resend", data=form),
        client.get("/auth/verify"),
        client.post("/auth/verify", data={**form, "code": "zzzzzz"}),
    ]
    chatbotkit_sandbox.fail("*", status=401, times=1)
    answers.append(client.post("/auth/verify", data={**form, "code": code}))
    answers.append(client.post("/auth/verify", data={**form, "code": code}))
    assert answers[-1].headers["Location"] == "/dashboard"
    session_token = _token(client)
    answers += [client.get(path) for path in ("/dashboard", "/auth/session", "/auth/account", "/auth/sign-out")]
    codes = {read_code(mail) for mail in chatbotkit_outbox}
    for answer in answers:
        headers = str([(name, value) for name, value in answer.headers if name != "Set-Cookie"])
        text = f"{answer.text} {headers}"
        assert not codes.intersection(re.findall(r"\w+", text))
        assert session_token not in text
        assert SECRET not in text
        assert "@" not in headers
    for mail in chatbotkit_outbox:
        urls = re.findall(r"https?://[^\s\"<>]+", f"{mail.body} {mail.html}")
        assert not any(each in url for url in urls for each in codes)


# repr()


def test_nothing_that_is_printed_tells_a_secret(
    app: Flask, sign_in: SignIn, clock: Clock, chatbotkit_outbox: list[Message]
) -> None:
    client = app.test_client()
    sign_in(client, ADA)
    ask(client)
    resend(client)
    verify(client, "zzzzzz")
    auth = app.extensions["chatbotkit_auth"]
    with app.app_context():
        (record,) = auth.sessions(next(iter(auth.adapter.list())))
    ids = [key.removeprefix("challenge:") for key in auth.store.keys("challenge:")]
    challenges = [auth.store.get_challenge(id) for id in ids]
    parts = [getattr(auth, each.name) for each in dataclasses.fields(auth)]
    codes = {read_code(mail) for mail in chatbotkit_outbox}
    for each in (auth, *parts, auth.client, record, record.user, *challenges):
        assert secrets_in(f"{each!r} {each}", codes) == [], type(each).__name__
        assert "not a secret" not in repr(each)


def test_a_user_is_printed_by_id_and_masked_address() -> None:
    assert repr(User(id="u1", email=ADA, name="Ada", meta={"phone": "1"})) == "<User u1 a•••@example.com partner>"
