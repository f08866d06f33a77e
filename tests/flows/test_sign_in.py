"""The sign-in from outside, over JSON: each step, each refusal, each fault, and what it costs."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import (
    ChatBotKitAuth,
    SignInDenied,
    StoreError,
    User,
    code_failed,
    code_sent,
    sign_in_failed,
    user_created,
    user_signed_in,
    user_signed_out,
)
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.steps import ADA, ask, error, post, resend, shown, verify

UNLIMITED = {"request:email": None, "request:ip": None, "verify:email": None, "verify:ip": None}

SignIn = Callable[..., TestResponse]
Outbox = list[Message]


def signed_in(client: FlaskClient) -> bool:
    return bool(client.get("/auth/session").get_json()["user"])


# The whole way


def test_a_new_person_signs_in(client: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox) -> None:
    assert client.get("/dashboard").status_code == 302
    answer = ask(client, "Ada@Example.com", next="/dashboard")
    assert answer.get_json() == {"challenge": {"email": "a•••@example.com", "expires_in": 600, "resend_in": 30}}
    answer = verify(client, read_code(chatbotkit_outbox[0]))
    assert answer.status_code == 200
    body = answer.get_json()
    (record,) = chatbotkit_sandbox.users.values()
    assert record["email"] == ADA
    assert (body["redirect"], body["user"]["id"], body["user"]["email"]) == ("/dashboard", record["id"], ADA)
    assert client.get("/dashboard").text == f"Hello {ADA}"


@pytest.mark.parametrize("kind", ["partner", "contact"])
@pytest.mark.parametrize("auto_create", [True, False])
def test_the_budget_of_calls(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox, kind: str, auto_create: bool
) -> None:
    app = make_app(CHATBOTKIT_AUTH_ADAPTER=kind, CHATBOTKIT_AUTH_AUTO_CREATE=auto_create)
    calls = chatbotkit_sandbox.requests
    if not auto_create:
        chatbotkit_sandbox.add_user(ADA)
        chatbotkit_sandbox.add_contact(ADA, meta={"email": ADA}, verifiedAt=1)
    for existing in (not auto_create, True):
        client = app.test_client()
        calls.clear()
        ask(client)
        assert len(calls) == (0 if auto_create else 1)
        calls.clear()
        assert verify(client, read_code(chatbotkit_outbox[-1])).status_code == 200
        assert len(calls) == (1 if existing else 2)
        calls.clear()
        for _ in range(3):
            assert client.get("/dashboard").status_code == 200
        assert len(calls) == 0


def test_what_people_type_is_forgiven(client: FlaskClient, chatbotkit_outbox: Outbox) -> None:
    ask(client)
    code = read_code(chatbotkit_outbox[0])
    assert verify(client, f" {code[:3].upper()}-{code[3:].upper()} ".replace("0", "O")).status_code == 200


def test_without_next_one_goes_home(make_app: MakeApp, sign_in: SignIn) -> None:
    assert sign_in(make_app().test_client(), ADA).get_json()["redirect"] == "/auth/account"


def test_where_home_is_can_be_set(make_app: MakeApp, sign_in: SignIn) -> None:
    app = make_app(CHATBOTKIT_AUTH_SIGN_IN_REDIRECT="/dashboard")
    assert sign_in(app.test_client(), ADA).get_json()["redirect"] == "/dashboard"


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https:evil.example", "https://evil.example"])
def test_next_leads_nowhere_else(client: FlaskClient, chatbotkit_outbox: Outbox, target: str) -> None:
    ask(client, next=target)
    assert verify(client, read_code(chatbotkit_outbox[0])).get_json()["redirect"] == "/auth/account"


# Bad input


@pytest.mark.parametrize(
    "email", ["", "ada", "ada@example.com, eve@example.com", "a\r\nBcc: e@example.com", None, 5, ["x"]]
)
def test_an_invalid_address_is_refused(client: FlaskClient, chatbotkit_outbox: Outbox, email: object) -> None:
    answer = ask(client, email)
    assert error(answer) == (400, "invalid_email")
    assert "Enter a valid email address" in answer.get_json()["error"]["message"]
    assert chatbotkit_outbox == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff"])
def test_a_body_that_is_no_object_is_an_invalid_address(client: FlaskClient, body: bytes) -> None:
    token = client.get("/auth/session").get_json()["csrf_token"]
    headers = {"X-CSRFToken": token, "Content-Type": "application/json"}
    assert error(client.post("/auth/sign-in", data=body, headers=headers)) == (400, "invalid_email")


def test_a_wrong_code_counts_down_and_ends_the_challenge(client: FlaskClient, chatbotkit_outbox: Outbox) -> None:
    ask(client)
    for left in (4, 3, 2, 1, 0):
        answer = verify(client, "zzzzzz")
        assert error(answer) == (400, "invalid_code")
        assert answer.get_json()["error"]["attempts_left"] == left
    answer = verify(client, read_code(chatbotkit_outbox[0]))
    assert error(answer) == (429, "too_many_attempts")
    assert int(answer.headers["Retry-After"]) == answer.get_json()["error"]["retry_after"] >= 1
    assert error(resend(client)) == (429, "too_many_attempts")
    assert not signed_in(client)


@pytest.mark.parametrize("code", ["", "   ", "-", None, 7, [], {}])
def test_an_empty_code_costs_no_attempt(client: FlaskClient, chatbotkit_outbox: Outbox, code: object) -> None:
    ask(client)
    answer = verify(client, code)
    assert error(answer) == (400, "invalid_code")
    assert answer.get_json()["error"]["attempts_left"] == 5
    assert verify(client, read_code(chatbotkit_outbox[0])).status_code == 200


@pytest.mark.parametrize("code", ["x" * 60000, "\0\0\0", "３ｆ９", "' OR 1=1 --", "%s%s", "🙂"])
def test_an_absurd_code_is_a_wrong_code(client: FlaskClient, code: str) -> None:
    ask(client)
    assert error(verify(client, code)) == (400, "invalid_code")


def test_an_expired_code_is_told(client: FlaskClient, clock: Clock, chatbotkit_outbox: Outbox) -> None:
    ask(client)
    clock.advance(600)
    code = read_code(chatbotkit_outbox[0])
    assert error(verify(client, code)) == (400, "code_expired")
    assert resend(client).status_code == 200, "a new challenge for the same address"
    assert error(verify(client, code)) == (400, "invalid_code")
    assert verify(client, read_code(chatbotkit_outbox[1])).status_code == 200


def test_after_the_expiry_another_code_begins_anew_for_the_same_address_and_next(
    client: FlaskClient, clock: Clock, chatbotkit_outbox: Outbox
) -> None:
    ask(client, next="/dashboard")
    for _ in range(5):
        verify(client, "zzzzzz")
    clock.advance(600)
    assert resend(client).get_json()["challenge"] == {"email": "a•••@example.com", "expires_in": 600, "resend_in": 30}
    assert verify(client, "zzzzzz").get_json()["error"]["attempts_left"] == 4
    answer = verify(client, read_code(chatbotkit_outbox[1]))
    assert answer.get_json()["redirect"] == "/dashboard"


@pytest.mark.parametrize("typed", ["12345", "1234567", "zzz", "order 1234567"])
def test_a_code_of_the_wrong_length_costs_no_try(client: FlaskClient, chatbotkit_outbox: Outbox, typed: str) -> None:
    ask(client)
    for _ in range(30):
        answer = verify(client, typed)
        assert error(answer) == (400, "invalid_code")
        assert answer.get_json()["error"]["attempts_left"] == 5
    assert verify(client, f"Code: {read_code(chatbotkit_outbox[0])}").status_code == 200


def test_without_a_challenge_there_is_none(client: FlaskClient) -> None:
    assert error(verify(client, "3f9a2c")) == (400, "no_challenge")
    assert error(resend(client)) == (400, "no_challenge")


# Whose code opens what


def test_a_code_from_another_browser_opens_nothing(app: Flask, chatbotkit_outbox: Outbox) -> None:
    victim, attacker = app.test_client(), app.test_client()
    ask(victim)
    assert error(verify(attacker, read_code(chatbotkit_outbox[0]))) == (400, "no_challenge")
    ask(attacker)
    assert error(verify(attacker, read_code(chatbotkit_outbox[0]))) == (400, "invalid_code")
    assert verify(victim, read_code(chatbotkit_outbox[0])).status_code == 200


def test_somebody_elses_code_does_not_open_my_address(app: Flask, chatbotkit_outbox: Outbox) -> None:
    attacker = app.test_client()
    ask(attacker, "eve@example.com")
    own_code = read_code(chatbotkit_outbox[0])
    ask(attacker, ADA)
    assert error(verify(attacker, own_code)) == (400, "invalid_code")


def test_who_signs_in_is_who_was_asked_for_whatever_else_is_sent(app: Flask, chatbotkit_outbox: Outbox) -> None:
    for body in ({"email": ADA}, {"email": ADA, "identifier": ADA, "user": ADA, "challenge": "0" * 32}):
        client = app.test_client()
        ask(client, "eve@example.com")
        code = read_code(chatbotkit_outbox[-1])
        answer = post(client, "/auth/verify", {**body, "code": code})
        assert answer.get_json()["user"]["email"] == "eve@example.com"
        again = app.test_client()
        ask(again, "eve@example.com")
        token = again.get("/auth/session").get_json()["csrf_token"]
        form = {**body, "code": read_code(chatbotkit_outbox[-1]), "csrf_token": token}
        assert again.post(f"/auth/verify?email={ADA}", data=form).status_code == 303
        assert again.get("/dashboard").text == "Hello eve@example.com"


def test_a_used_code_is_used(app: Flask, chatbotkit_outbox: Outbox) -> None:
    client = app.test_client()
    ask(client)
    before = client.get_cookie("session")
    assert before is not None
    code = read_code(chatbotkit_outbox[0])
    assert verify(client, code).status_code == 200
    replay = app.test_client()
    replay.set_cookie("session", before.value)
    token = replay.get("/auth/session").get_json()["csrf_token"]
    answer = replay.post("/auth/verify", json={"code": code}, headers={"X-CSRFToken": token})
    assert error(answer) == (400, "no_challenge")
    assert not signed_in(replay)


def test_a_used_challenge_asks_the_api_for_nobody(
    app: Flask, client: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    ask(client)
    with client.session_transaction() as session:
        before = dict(session)
    assert verify(client, read_code(chatbotkit_outbox[0])).status_code == 200
    replay = app.test_client()
    with replay.session_transaction() as session:
        session.update(before)
        session["chatbotkit_auth"]["proved"] = True
    calls = len(chatbotkit_sandbox.requests)
    assert error(verify(replay, "")) == (400, "no_challenge")
    assert "This code has been used" in replay.get("/auth/verify").text
    assert len(chatbotkit_sandbox.requests) == calls


def test_what_is_asked_for_in_a_url_is_not_done(client: FlaskClient, chatbotkit_outbox: Outbox) -> None:
    # A code in a URL would end up in histories and logs.
    token = client.get("/auth/session").get_json()["csrf_token"]
    form = {"csrf_token": token}
    assert shown(client, client.post(f"/auth/sign-in?email={ADA}", data=form)).status_code == 400
    assert chatbotkit_outbox == []
    client.post("/auth/sign-in", data={**form, "email": ADA})
    code = read_code(chatbotkit_outbox[0])
    assert shown(client, client.post(f"/auth/verify?code={code}", data=form)).status_code == 400
    assert not signed_in(client)


def test_who_comes_second_to_complete_is_not_signed_in(
    app: Flask, client: FlaskClient, chatbotkit_outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(client)
    # Another request was faster, after this one had found the challenge verified.
    monkeypatch.setattr(app.extensions["chatbotkit_auth"].store, "complete", lambda *_args, **_named: False)
    assert error(verify(client, read_code(chatbotkit_outbox[0]))) == (400, "no_challenge")
    assert client.get_cookie("remember_token") is None
    assert not signed_in(client)


def test_a_challenge_cannot_be_guessed(app: Flask) -> None:
    seen = set()
    for _ in range(5):
        client = app.test_client()
        ask(client)
        with client.session_transaction() as session:
            seen.add(session["chatbotkit_auth"]["challenge"])
    assert len(seen) == 5
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in seen)


def test_a_challenge_cookie_of_another_key_is_nothing(make_app: MakeApp, chatbotkit_outbox: Outbox) -> None:
    client = make_app().test_client()
    ask(client)
    cookie = client.get_cookie("session")
    assert cookie is not None
    forger = make_app(SECRET_KEY="another").test_client()
    forger.set_cookie("session", cookie.value)
    assert error(verify(forger, read_code(chatbotkit_outbox[0]))) == (400, "no_challenge")


@pytest.mark.skipif(version("flask") < "3.1", reason="Flask reads no fallback keys before 3.1")
def test_a_rotated_key_still_knows_the_code(make_app: MakeApp, tmp_path: Any, chatbotkit_outbox: Outbox) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    client = make_app(SECRET_KEY="old", CHATBOTKIT_AUTH_STORE_URL=url).test_client()
    ask(client)
    code = read_code(chatbotkit_outbox[0])
    after = make_app(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"], CHATBOTKIT_AUTH_STORE_URL=url).test_client()
    cookie = client.get_cookie("session")
    assert cookie is not None
    after.set_cookie("session", cookie.value)
    assert verify(after, code).status_code == 200


def test_nothing_the_store_holds_is_the_code(app: Flask, client: FlaskClient, chatbotkit_outbox: Outbox) -> None:
    ask(client)
    store = app.extensions["chatbotkit_auth"].store
    assert read_code(chatbotkit_outbox[0]) not in str(vars(store))


# Resend


def test_a_resend_waits_keeps_earlier_codes_and_ends(
    make_app: MakeApp, clock: Clock, chatbotkit_outbox: Outbox
) -> None:
    client = make_app().test_client()
    ask(client)
    refused = resend(client)
    assert error(refused) == (429, "rate_limited")
    assert refused.headers["Retry-After"] == "30"
    for number in range(1, 4):
        clock.advance(30)
        answer = resend(client)
        assert answer.get_json()["challenge"] == {"email": "a•••@example.com", "expires_in": 600, "resend_in": 30}
        assert len(chatbotkit_outbox) == number + 1
    clock.advance(30)
    assert error(resend(client)) == (429, "rate_limited")
    assert len({read_code(mail) for mail in chatbotkit_outbox}) == 4
    assert error(verify(client, read_code(chatbotkit_outbox[0]))) == (400, "invalid_code")  # the newest two work
    assert verify(client, read_code(chatbotkit_outbox[-2])).status_code == 200


@pytest.mark.parametrize("which", [2, 3])
def test_each_of_the_two_newest_codes_opens_once_and_ends_all(
    make_app: MakeApp, clock: Clock, chatbotkit_outbox: Outbox, which: int
) -> None:
    client = make_app().test_client()
    ask(client)
    for _ in range(3):
        clock.advance(30)
        resend(client)
    assert verify(client, read_code(chatbotkit_outbox[which])).status_code == 200
    assert error(verify(client, read_code(chatbotkit_outbox[5 - which]))) == (400, "no_challenge")


def test_an_earlier_code_ends_at_its_own_expiry(make_app: MakeApp, clock: Clock, chatbotkit_outbox: Outbox) -> None:
    client = make_app().test_client()
    ask(client)
    clock.advance(590)
    resend(client)
    clock.advance(20)
    assert error(verify(client, read_code(chatbotkit_outbox[0]))) == (400, "invalid_code")
    assert verify(client, read_code(chatbotkit_outbox[1])).status_code == 200


def test_a_new_code_resets_no_count(make_app: MakeApp, clock: Clock) -> None:
    client = make_app().test_client()
    ask(client)
    for _ in range(4):
        verify(client, "zzzzzz")
    clock.advance(30)
    assert resend(client).status_code == 200
    assert verify(client, "zzzzzz").get_json()["error"]["attempts_left"] == 0
    assert error(verify(client, "zzzzzz")) == (429, "too_many_attempts")


# Limits


def test_requests_for_one_address_are_limited(app: Flask, chatbotkit_outbox: Outbox) -> None:
    for _ in range(5):
        assert ask(app.test_client()).status_code == 200
    answer = ask(app.test_client())
    assert error(answer) == (429, "rate_limited")
    assert 0 < int(answer.headers["Retry-After"]) <= 900
    assert len(chatbotkit_outbox) == 5
    assert ask(app.test_client(), "eve@example.com").status_code == 200


def test_another_code_counts_as_one_that_was_asked_for(make_app: MakeApp, clock: Clock) -> None:
    client = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "2/15minutes"}).test_client()
    ask(client)
    for _ in range(3):  # too soon: it costs nothing
        assert error(resend(client)) == (429, "rate_limited")
    clock.advance(30)
    assert resend(client).status_code == 200
    clock.advance(30)
    assert error(resend(client)) == (429, "rate_limited")


def test_a_code_that_the_store_did_not_take_is_not_sent(
    app: Flask, client: FlaskClient, clock: Clock, chatbotkit_outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(client)
    clock.advance(30)
    # Another request of this browser's was faster, after we had looked.
    monkeypatch.setattr(app.extensions["chatbotkit_auth"].store, "add_code", lambda *_args, **_named: False)
    assert error(resend(client)) == (429, "rate_limited")
    assert len(chatbotkit_outbox) == 1


def test_a_refusal_by_a_limit_is_logged(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(6):
        ask(app.test_client())
    assert "/auth/sign-in refused to 127.0.0.1: limit request:email reached" in caplog.text
    assert "ada@" not in caplog.text
    assert "limits clear" not in caplog.text
    app.debug = True
    ask(app.test_client())
    assert "While you develop, lift it with: flask chatbotkit-auth limits clear EMAIL" in caplog.text


def test_requests_of_one_client_are_limited(app: Flask) -> None:
    for number in range(30):
        assert ask(app.test_client(), f"person{number}@example.com").status_code == 200
    assert error(ask(app.test_client(), "person30@example.com")) == (429, "rate_limited")


def test_wrong_codes_are_limited_over_all_challenges_and_clients(make_app: MakeApp) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": None, "request:ip": None})
    compared = 0
    for number in range(8):
        client = app.test_client()
        client.environ_base["REMOTE_ADDR"] = f"192.0.2.{number}"
        ask(client)
        for _ in range(5):
            compared += error(verify(client, "zzzzzz"))[1] == "invalid_code"
    assert compared == 20


def test_a_success_gives_strangers_no_new_guesses(make_app: MakeApp, chatbotkit_outbox: Outbox) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": None, "verify:email": "5/hour"})
    compared = 0
    for _ in range(3):
        stranger = app.test_client()
        ask(stranger)
        compared += [error(verify(stranger, "zzzzzz"))[1] for _ in range(2)].count("invalid_code")
        owner = app.test_client()
        ask(owner)
        verify(owner, read_code(chatbotkit_outbox[-1]))
    assert compared == 5


def test_right_codes_do_not_use_up_a_clients_limit(make_app: MakeApp, sign_in: SignIn) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"verify:ip": "2/hour"})
    for number in range(5):
        assert sign_in(app.test_client(), f"person{number}@example.com").status_code == 200


def test_a_client_over_its_limit_uses_up_nobody_elses(make_app: MakeApp) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:ip": "1/hour", "request:email": "1/hour"})
    client = app.test_client()
    ask(client, "eve@example.com")
    assert error(ask(client)) == (429, "rate_limited")
    elsewhere = app.test_client()
    elsewhere.environ_base["REMOTE_ADDR"] = "192.0.2.1"
    assert ask(elsewhere).status_code == 200


def test_a_client_over_its_limit_guesses_at_nobody_elses_cost(make_app: MakeApp) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"verify:ip": "1/hour", "verify:email": "2/hour"})
    client, elsewhere = app.test_client(), app.test_client()
    elsewhere.environ_base["REMOTE_ADDR"] = "192.0.2.1"
    ask(client)
    ask(elsewhere)
    codes = [error(verify(client, "zzzzzz"))[1] for _ in range(4)]
    assert codes == ["invalid_code"] + ["rate_limited"] * 3
    assert error(verify(elsewhere, "zzzzzz")) == (400, "invalid_code")


def test_an_ipv6_customer_is_one_client(make_app: MakeApp) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:ip": "1/hour"})
    statuses: list[int] = []
    for address in ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"):
        client = app.test_client()
        client.environ_base["REMOTE_ADDR"] = address
        statuses.append(ask(client, f"{len(statuses)}@example.com").status_code)
    assert statuses == [200, 429, 200]


# Who may


def test_an_unknown_person_reads_the_same_and_gets_no_mail(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, CHATBOTKIT_AUTH_RATE_LIMITS=UNLIMITED)
    chatbotkit_sandbox.add_user("none@example.com")
    answers = []
    for email in ("none@example.com", "nemo@example.com"):
        client = app.test_client()
        seen = [ask(client, email), verify(client, "zzzzzz"), resend(client), client.get("/auth/verify")]
        dynamic = re.compile(r'name="csrf_token" value="[^"]*"|none(<wbr>)?@|nemo(<wbr>)?@')
        answers.append(
            [
                (each.status_code, dynamic.sub("", each.text), [key for key, _ in each.headers], each.content_type)
                for each in seen
            ]
        )
    assert answers[0] == answers[1]
    assert [mail.recipients for mail in chatbotkit_outbox] == [["none@example.com"]]


def test_a_person_deleted_meanwhile_is_told_there_is_no_account(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    client = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False).test_client()
    record = chatbotkit_sandbox.add_user(ADA)
    ask(client)
    del chatbotkit_sandbox.users[record["id"]]
    assert error(verify(client, read_code(chatbotkit_outbox[0]))) == (403, "sign_up_disabled")


def test_an_administrator_lets_somebody_in(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False)
    client = app.test_client()
    ask(client)
    assert chatbotkit_outbox == []
    app.extensions["chatbotkit_auth"].adapter.create(ADA)
    ask(client)
    assert verify(client, read_code(chatbotkit_outbox[0])).status_code == 200


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (False, "You can't sign in here"),
        ("Your trial has ended.", "Your trial has ended."),
        (SignInDenied("Ask your teacher."), "Ask your teacher."),
        (SignInDenied(), "You can't sign in here"),
    ],
)
def test_the_application_may_refuse(
    app: Flask, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox, answer: Any, message: str
) -> None:
    asked: list[tuple[str, str]] = []
    auth: ChatBotKitAuth = app.extensions["test_auth"]

    @auth.sign_in_callback
    def may_sign_in(identifier: str, user: Any) -> Any:
        asked.append((identifier, user.id))
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = app.test_client()
    ask(client)
    refused = verify(client, read_code(chatbotkit_outbox[0]))
    assert error(refused) == (403, "sign_in_denied")
    assert message in refused.get_json()["error"]["message"]
    assert asked == [(ADA, "")]
    assert chatbotkit_sandbox.users == {}
    assert not signed_in(client)


@pytest.mark.parametrize("refusal", ["callback", "inactive", "no account"])
def test_a_refusal_ends_the_challenge(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox, refusal: str
) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False)
    auth: ChatBotKitAuth = app.extensions["test_auth"]
    record = chatbotkit_sandbox.add_user(ADA)
    client = app.test_client()
    ask(client)
    if refusal == "callback":
        auth.sign_in_callback(lambda identifier, user: "Not today.")
    elif refusal == "inactive":
        auth.user_callback(lambda user: SimpleNamespace(is_active=False, get_id=str))
    else:
        del chatbotkit_sandbox.users[record["id"]]
    chatbotkit_sandbox.requests.clear()
    assert verify(client, read_code(chatbotkit_outbox[0])).status_code == 403
    for _ in range(5):
        assert error(verify(client, "")) == (400, "no_challenge")
    assert len(chatbotkit_sandbox.requests) <= 1


def test_completing_is_tried_ten_times_at_most(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    client = make_app(CHATBOTKIT_API_RETRIES=0).test_client()
    ask(client)
    chatbotkit_sandbox.fail("*", status=401)
    codes = [read_code(chatbotkit_outbox[0]), *[""] * 14]
    statuses = [verify(client, code).status_code for code in codes]
    assert statuses == [503] * 10 + [400] * 5
    assert len(chatbotkit_sandbox.requests) == 10


def test_an_exception_of_the_callbacks_own_propagates_and_keeps_the_code(
    make_app: MakeApp, chatbotkit_outbox: Outbox
) -> None:
    app = make_app(PROPAGATE_EXCEPTIONS=False)
    client = app.test_client()
    auth: ChatBotKitAuth = app.extensions["test_auth"]

    @auth.sign_in_callback
    def fail(identifier: str, user: object) -> None:
        raise ZeroDivisionError

    ask(client)
    assert verify(client, read_code(chatbotkit_outbox[0])).status_code == 500
    auth.sign_in_callback(lambda identifier, user: None)
    assert verify(client, "").status_code == 200


def test_an_account_that_an_adapter_found_unasked_goes_through_the_callback(
    app: Flask,
    client: FlaskClient,
    chatbotkit_sandbox: Sandbox,
    chatbotkit_outbox: Outbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chatbotkit_sandbox.add_user(ADA, meta={"suspended": True})
    adapter = app.extensions["chatbotkit_auth"].adapter
    found = adapter.get_by_email(ADA)
    monkeypatch.setattr(adapter, "resolve", lambda email, approve: (found, False))
    app.extensions["test_auth"].sign_in_callback(lambda identifier, user: not user.meta.get("suspended"))
    ask(client)
    assert error(verify(client, read_code(chatbotkit_outbox[0]))) == (403, "sign_in_denied")


# Faults


@pytest.mark.parametrize("kind", ["partner", "contact"])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 401},
        {"status": 402},
        {"status": 403},
        {"status": 404},
        {"status": 422},
        {"status": 429},
        {"status": 429, "code": "LIMITS_REACHED"},
        {"status": 503, "headers": {"Retry-After": "1000"}},
        {"body": "<html>no such thing</html>", "status": 404},
        {"body": "<html>hello</html>"},
        {"body": "{"},
        {"body": "[]"},
        {"body": "[" * 100_000},
        {"body": b"\xff\xfe"},
        {"drop": True},
        {"drop": 0},
        {"drop": 20},
        {"drop": -1},
    ],
)
@pytest.mark.parametrize("step", ["list", "make"])
def test_after_an_outage_the_person_comes_in_without_a_new_code(
    make_app: MakeApp,
    chatbotkit_sandbox: Sandbox,
    chatbotkit_outbox: Outbox,
    kind: str,
    fault: dict[str, Any],
    step: str,
) -> None:
    client = make_app(CHATBOTKIT_AUTH_ADAPTER=kind, CHATBOTKIT_API_RETRIES=0).test_client()
    ask(client)
    glob = "*/list" if step == "list" else "*/create"
    chatbotkit_sandbox.fail(glob, **fault)
    answer = verify(client, read_code(chatbotkit_outbox[0]))
    assert error(answer) == (503, "upstream_unavailable")
    assert not signed_in(client)
    chatbotkit_sandbox.heal()
    assert verify(client, "").status_code == 200
    assert client.get("/dashboard").text == f"Hello {ADA}"
    records = chatbotkit_sandbox.users if kind == "partner" else chatbotkit_sandbox.contacts
    assert len(records) == 1
    assert len(chatbotkit_outbox) == 1


@pytest.mark.parametrize("page", ["json", "html"])
def test_who_never_got_the_answer_types_the_code_again(
    client: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox, page: str
) -> None:
    # The phone went offline, or the worker died, after the code was taken and before the browser heard of it.
    ask(client)
    code = read_code(chatbotkit_outbox[0])
    before = client.get_cookie("session")
    assert before
    chatbotkit_sandbox.fail("*", status=503)
    assert verify(client, code).status_code == 503
    chatbotkit_sandbox.heal()
    client.set_cookie("session", before.value)
    form = client.get("/auth/verify").text
    assert 'name="code"' in form
    assert error(verify(client, ""))[1] == "no_challenge"
    assert error(verify(client, "wrong"))[1] == "no_challenge"
    if page == "json":
        assert verify(client, code).status_code == 200
    else:
        token = client.get("/auth/session").get_json()["csrf_token"]
        assert client.post("/auth/verify", data={"csrf_token": token, "code": code}).location == "/auth/account"
    assert client.get("/dashboard").text == f"Hello {ADA}"
    assert len(chatbotkit_outbox) == 1


def test_a_copied_cookie_guesses_five_times_at_a_verified_challenge(
    app: Flask, client: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    ask(client)
    code = read_code(chatbotkit_outbox[0])
    copied = client.get_cookie("session")
    assert copied
    chatbotkit_sandbox.fail("*", status=503)
    assert verify(client, code).status_code == 503
    chatbotkit_sandbox.heal()
    thief = app.test_client()
    thief.set_cookie("session", copied.value)
    for _ in range(5):
        assert error(verify(thief, "zzzzzz")) == (400, "no_challenge")
    assert error(verify(thief, code)) == (400, "no_challenge")
    assert not signed_in(thief)
    # Whoever proved it is not kept out by that.
    assert verify(client, "").status_code == 200


def test_the_second_try_ends_with_the_codes_lifetime(
    client: FlaskClient, clock: Clock, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    ask(client)
    chatbotkit_sandbox.fail("*", status=401)
    assert verify(client, read_code(chatbotkit_outbox[0])).status_code == 503
    chatbotkit_sandbox.heal()
    clock.advance(600)
    assert error(verify(client, "")) == (400, "code_expired")


def test_a_pending_completion_opens_nothing_elsewhere(
    app: Flask, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    client = app.test_client()
    ask(client)
    chatbotkit_sandbox.fail("*", status=401)
    verify(client, read_code(chatbotkit_outbox[0]))
    chatbotkit_sandbox.heal()
    other = app.test_client()
    assert error(verify(other, read_code(chatbotkit_outbox[0]))) == (400, "no_challenge")
    ask(other)
    assert error(verify(other, "")) == (400, "invalid_code")


def test_an_outage_at_the_look_up_is_told(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    chatbotkit_sandbox.fail("*", status=401)
    assert error(ask(make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False).test_client())) == (503, "upstream_unavailable")


@pytest.mark.parametrize("method", ["add_challenge", "get_challenge", "try_code", "complete"])
def test_a_store_that_fails_is_a_503_and_nothing_is_lost(
    app: Flask, client: FlaskClient, chatbotkit_outbox: Outbox, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(*_args: object, **_named: object) -> None:
        raise StoreError("gone")

    store = app.extensions["chatbotkit_auth"].store
    created: list[str] = []

    def hear(_app: Flask, user: User) -> None:
        created.append(user.email)

    user_created.connect(hear, app)
    with monkeypatch.context() as patch:
        patch.setattr(store, method, fail)
        answers = [ask(client)]
        if chatbotkit_outbox:
            answers.append(verify(client, read_code(chatbotkit_outbox[0])))
        assert error(answers[-1]) == (503, "store_unavailable")
    if not chatbotkit_outbox:
        ask(client)
    assert verify(client, read_code(chatbotkit_outbox[0])).status_code == 200
    assert created == [ADA]


def test_a_store_that_fails_on_a_page_of_the_application_is_a_503(
    app: Flask, client: FlaskClient, sign_in: SignIn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(client, ADA)

    def fail(*_args: object, **_named: object) -> None:
        raise StoreError("gone")

    clock.advance(10)
    with monkeypatch.context() as patch:
        patch.setattr(app.extensions["chatbotkit_auth"].store, "get_session", fail)
        answer = client.get("/dashboard")
        assert answer.status_code == 503
        assert "Try again in a moment" in answer.text
    assert client.get("/dashboard").status_code == 200


def test_one_code_submitted_by_many_threads_is_one_sign_in(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS=UNLIMITED)
    client = app.test_client()
    ask(client)
    code = read_code(chatbotkit_outbox[0])
    token = client.get("/auth/session").get_json()["csrf_token"]
    cookie = client.get_cookie("session")
    assert cookie is not None
    barrier = threading.Barrier(20)
    statuses: list[int] = []

    def submit() -> None:
        twin = app.test_client()
        twin.set_cookie("session", cookie.value)
        barrier.wait()
        statuses.append(twin.post("/auth/verify", json={"code": code}, headers={"X-CSRFToken": token}).status_code)

    threads = [threading.Thread(target=submit) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [400] * 19
    assert len(chatbotkit_sandbox.users) == 1


# What is told, and what is not


def test_signals_tell_what_happened(
    app: Flask, client: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    heard: list[tuple[str, dict[str, Any]]] = []
    receivers = []
    for signal in (code_sent, code_failed, user_created, user_signed_in, sign_in_failed, user_signed_out):

        def receive(sender: object, _name: str = signal.name, **data: Any) -> None:
            assert sender is app
            heard.append((_name.removeprefix("chatbotkit-auth-"), data))

        receivers.append(receive)
        signal.connect(receive)
    ask(client)
    verify(client, "zzzzzz")
    chatbotkit_sandbox.fail("*", status=401, times=1)
    code = read_code(chatbotkit_outbox[0])
    verify(client, code)
    verify(client, "")
    post(client, "/auth/sign-out", {})
    assert [name for name, _ in heard] == [
        "code-sent",
        "code-failed",
        "sign-in-failed",
        "user-created",
        "user-signed-in",
        "user-signed-out",
    ]
    data = dict(heard)
    assert data["code-sent"]["identifier"] == ADA
    assert data["code-failed"]["error"].attempts_left == 4
    assert data["user-signed-in"]["created"] is True
    assert data["user-signed-in"]["user"].email == ADA
    assert data["user-signed-out"]["user"].email == ADA
    assert code not in str(heard)


def test_a_receiver_that_raises_breaks_nothing(
    client: FlaskClient, sign_in: SignIn, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_sender: object, **_data: object) -> None:
        raise ValueError("receiver")

    heard: list[object] = []

    def hear(sender: object, **_data: object) -> None:
        heard.append(sender)

    with user_signed_in.connected_to(fail), user_signed_in.connected_to(hear):
        assert sign_in(client, ADA).status_code == 200
    assert len(heard) == 1
    assert "a receiver of chatbotkit-auth-user-signed-in failed" in caplog.text


def test_no_code_secret_token_or_whole_address_is_logged(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = make_app(CHATBOTKIT_AUTH_RATE_LIMITS=UNLIMITED, CHATBOTKIT_API_RETRIES=0).test_client()
    ask(client)
    verify(client, "zzzzzz")
    code = read_code(chatbotkit_outbox[0])
    chatbotkit_sandbox.fail("*", status=500, times=1)
    verify(client, code)
    verify(client, "")
    client.get("/dashboard")
    remember = client.get_cookie("remember_token")
    assert remember is not None
    token = remember.value.partition("|")[0]
    post(client, "/auth/sign-out", {})
    ours = "\n".join(
        record.getMessage() + str(record.exc_text or "")
        for record in caplog.records
        if record.name.startswith("flask_chatbotkit_auth")
    )
    for line in ("code sent to", "code refused for", "sign-in of", "signed in: user"):
        assert line in ours
    for secret in (code, "sk-test", token, ADA, "zzzzzz"):
        assert secret not in ours


def test_the_session_json_and_its_hook(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    auth: ChatBotKitAuth = app.extensions["test_auth"]

    @auth.session_callback
    def add(session: dict[str, Any], user: Any) -> None:
        session["plan"] = f"pro for {user.email}"

    anonymous = client.get("/auth/session").get_json()
    assert (anonymous["user"], anonymous["expires_at"], sorted(anonymous)) == (
        None,
        None,
        ["challenge", "csrf_token", "expires_at", "user"],
    )
    sign_in(client, ADA)
    session = client.get("/auth/session").get_json()
    assert session["user"]["email"] == ADA
    assert session["plan"] == f"pro for {ADA}"
    assert session["expires_at"] == "2026-01-08T12:00:00+00:00"


def test_sign_out_ends_the_session_on_the_server(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    sign_in(client, ADA)
    cookies = {name: client.get_cookie(name) for name in ("session", "remember_token")}
    answer = post(client, "/auth/sign-out", {})
    assert answer.get_json() == {"redirect": "/auth/sign-in"}
    assert client.get("/dashboard").status_code == 302
    assert client.get_cookie("remember_token") is None
    copy = app.test_client()
    for name, cookie in cookies.items():
        assert cookie is not None
        copy.set_cookie(name, cookie.value)
    assert copy.get("/dashboard").status_code == 302


def test_of_a_long_user_agent_the_beginning_is_kept(
    app: Flask, client: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    client.environ_base["HTTP_USER_AGENT"] = "Firefox" + "x" * 60_000
    user = sign_in(client, ADA).get_json()["user"]
    with app.app_context():
        (record,) = app.extensions["chatbotkit_auth"].sessions(user["id"])
    assert record.user_agent == ("Firefox" + "x" * 60_000)[:400]


def test_signing_in_again_ends_the_session_before(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    sign_in(client, ADA)
    sign_in(client, "eve@example.com")
    store = app.extensions["chatbotkit_auth"].store
    assert len(store.keys("session:")) == 1
