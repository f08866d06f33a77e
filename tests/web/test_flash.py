"""Post/Redirect/Get: every form's answer is a redirect, and what it says is shown once."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from secrets import token_urlsafe
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import MemoryStore
from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.steps import token

ADA = "ada@example.com"
SignIn = Callable[..., TestResponse]


def submit(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    return client.post(f"/auth/{path}", data={"csrf_token": token(client), **fields})


def begin(client: FlaskClient, email: str = ADA) -> None:
    assert submit(client, "sign-in", email=email).location == "/auth/verify"


@pytest.mark.parametrize(
    ("path", "fields", "status", "sentence"),
    [
        ("sign-in", {"email": "wrong"}, 400, "Enter a valid email address"),
        ("verify", {"code": "zzzzzz"}, 400, "4 tries left"),
        ("resend", {}, 429, "Wait"),
    ],
)
def test_an_error_is_shown_once_under_its_own_status(
    client: FlaskClient, path: str, fields: dict[str, str], status: int, sentence: str
) -> None:
    begin(client)
    answer = submit(client, path, **fields)
    assert answer.status_code == 303
    assert re.fullmatch(r"/auth/(sign-in|verify)\?m=[\w-]{12}", answer.location)
    page = client.get(answer.location)
    assert page.status_code == status
    assert sentence in page.text
    assert ("Retry-After" in page.headers) == (status == 429)
    again = client.get(answer.location)
    assert again.status_code == 200
    assert sentence not in again.text


def test_reload_tries_no_code_again(client: FlaskClient) -> None:
    begin(client)
    location = submit(client, "verify", code="zzzzzz").location
    assert "4 tries left" in client.get(location).text
    for _ in range(10):
        client.get(location)
    assert "3 tries left" in client.get(submit(client, "verify", code="zzzzzz").location).text


def test_two_tabs_do_not_take_each_others_message(client: FlaskClient) -> None:
    first, second = (submit(client, "sign-in", email=email).location for email in ("one", "two"))
    assert 'value="two"' in client.get(second).text
    assert 'value="one"' in client.get(first).text
    third = submit(client, "sign-in", email="three").location
    assert 'value="three"' not in client.get("/auth/sign-in").text, "a plain page takes nothing"
    assert 'value="three"' not in client.get("/auth/sign-in?m=forged").text
    client.head(third)
    assert 'value="three"' in client.get(third).text


def test_the_session_holds_what_was_typed_for_one_redirect_and_never_a_code(client: FlaskClient) -> None:
    typed = "é" * 310 + "@"
    location = submit(client, "sign-in", email=typed, code="secret-code").location
    with client.session_transaction() as session:
        held = str(dict(session))
    assert typed in held
    assert "secret-code" not in held
    assert typed in unescape(client.get(location).text)
    with client.session_transaction() as session:
        assert set(session) <= {"csrf_token", "_fresh"}
    begin(client)
    submit(client, "verify", code="zz-zz-zz")
    with client.session_transaction() as session:
        assert "zz-zz-zz" not in str(dict(session))


def test_the_cookie_stays_small_however_many_tabs_wait(client: FlaskClient) -> None:
    for number in range(12):
        submit(
            client, "sign-in", email=chr(0x4E00 + number * 331) * 2 + "".join(chr(0x4E00 + i * 61) for i in range(310))
        )
        cookie = client.get_cookie("session")
        assert cookie is not None
        assert len(cookie.value) < 3000


def test_what_cannot_be_kept_is_rendered_at_once(client: FlaskClient) -> None:
    answer = submit(client, "sign-in", email="a" * 321)
    assert answer.status_code == 400
    assert "a" * 321 in answer.text


def test_a_browser_without_cookies_is_told_at_once(app: Flask) -> None:
    client = app.test_client(use_cookies=False)
    answer = client.post("/auth/sign-in", data={"email": ADA, "csrf_token": "old"})
    assert answer.status_code == 403
    assert "Allow cookies for this site" in answer.text
    assert f'value="{ADA}"' in answer.text


@pytest.mark.parametrize("old", ["", "old"])
def test_a_page_that_was_open_too_long_is_the_same_form_again(client: FlaskClient, old: str) -> None:
    client.get("/auth/sign-in")
    form = {"email": ADA, "next": "/dashboard", "csrf_token": old}
    answer = client.post("/auth/sign-in", data=form)
    assert answer.status_code == 303
    page = client.get(answer.location)
    assert page.status_code == 403
    assert f'value="{ADA}"' in page.text
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
    assert fields["next"] == "/dashboard"
    assert client.post("/auth/sign-in", data={"email": ADA, **fields}).location == "/auth/verify"


def test_another_code_is_announced_once(client: FlaskClient, clock: Clock) -> None:
    begin(client)
    clock.advance(30)
    location = submit(client, "resend").location
    assert "New code sent" in client.get(location).text
    assert "New code sent" not in client.get(location).text
    assert "New code sent" not in client.get("/auth/verify?sent=1").text


def test_a_store_that_is_down_loses_nothing_that_was_typed(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    client = make_app(store=store).test_client()
    csrf = token(client)

    def fail(*_: object, **__: object) -> None:
        raise StoreError("gone")

    monkeypatch.setattr(store, "add_challenge", fail)
    answer = client.post("/auth/sign-in", data={"email": ADA, "csrf_token": csrf})
    page = client.get(answer.location)
    assert page.status_code == 503
    assert f'value="{ADA}"' in page.text


def test_a_code_that_was_sent_twice_leaves_the_person_signed_in(
    app: Flask, client: FlaskClient, chatbotkit_outbox: list[Message]
) -> None:
    # A double click: both requests carry the cookie of before, and the answer of the slower one arrives last.
    begin(client)
    form = {"csrf_token": token(client), "code": read_code(chatbotkit_outbox[0])}
    before = client.get_cookie("session")
    assert before is not None
    second = app.test_client()
    second.set_cookie("session", before.value)
    assert client.post("/auth/verify", data=form).location == "/auth/account"
    late = second.post("/auth/verify", data=form)
    assert (late.status_code, late.location) == (303, "/auth/verify")
    assert "Set-Cookie" not in late.headers
    assert client.get(late.location, follow_redirects=True).request.path == "/auth/account"
    assert client.get("/dashboard").text == f"Hello {ADA}"
    used = second.get(late.location)
    assert (used.status_code, "This code has been used" in used.text) == (400, True)
    assert second.get(late.location).location == "/auth/sign-in"


def test_a_refusal_has_a_page_of_its_own_once(
    app: Flask, client: FlaskClient, chatbotkit_outbox: list[Message]
) -> None:
    app.extensions["test_auth"].sign_in_callback(
        lambda identifier, user: "Your trial has ended. " + token_urlsafe(3000)
    )
    begin(client)
    code = read_code(chatbotkit_outbox[0])
    at_once = submit(client, "verify", code=code)
    assert at_once.status_code == 403, "a reason that no cookie can carry"
    assert "Your trial has ended." in at_once.text


def test_next_and_the_address_survive_second_thoughts(client: FlaskClient) -> None:
    page = client.post(
        "/auth/sign-in", data={"csrf_token": token(client), "email": "adda@example.com", "next": "/dashboard"}
    )
    page = client.get(page.location)
    assert 'href="/auth/sign-in?next=/dashboard"' in page.text
    again = client.get("/auth/sign-in?next=/dashboard").text
    assert 'value="adda@example.com"' in again
    assert 'name="next" value="/dashboard"' in again


def test_a_pending_sign_in_is_remembered(client: FlaskClient, clock: Clock) -> None:
    begin(client)
    assert "Enter the code we sent to <strong" in client.get("/auth/sign-in").text
    clock.advance(601)
    assert "Enter the code we sent to" not in client.get("/auth/sign-in").text


def test_a_person_whom_the_application_refuses_is_not_sent_in_a_circle(app: Flask, sign_in: SignIn) -> None:
    @app.get("/admin/")
    def admin() -> Any:
        return app.login_manager.unauthorized()  # type: ignore[attr-defined]

    client = app.test_client()
    sign_in(client, ADA)
    page = client.get("/admin/", follow_redirects=True)
    assert page.status_code == 200
    assert "signed in as" in page.text
    assert client.get("/auth/sign-in?next=/dashboard").location == "/dashboard"


def test_a_second_tab_says_that_the_person_is_signed_in(client: FlaskClient, sign_in: SignIn) -> None:
    begin(client)
    old = token(client)
    sign_in(client, ADA)
    answer = client.post("/auth/verify", data={"csrf_token": old, "code": "123456"})
    page = client.get(answer.location)
    assert page.status_code == 403
    assert "signed in as" in page.text
    assert "out of date" not in page.text, "there is nothing to try again"


def test_a_mail_that_cannot_be_sent_leads_to_the_code_page(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    app = make_app()

    def send(*_: object) -> None:
        raise OSError

    app.extensions["test_auth"].send_verification_request(send)
    client = app.test_client()
    answer = submit(client, "sign-in", email=ADA)
    page = client.get(answer.location)
    assert page.status_code == 503
    assert "send the email. Wait a moment" in page.text
    assert 'action="/auth/resend"' in page.text


def test_a_limit_leads_to_the_code_that_works(make_app: MakeApp, chatbotkit_outbox: list[Message]) -> None:
    client = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "1/hour", "request:ip": "2/hour"}).test_client()
    begin(client)
    location = submit(client, "sign-in", email=ADA).location
    assert location.startswith("/auth/verify?m=")
    page = client.get(location)
    assert (page.status_code, "Retry-After" in page.headers) == (429, True)
    assert "too many codes" in page.text
    assert "Send a new code" not in page.text, "it would be refused as well"
    assert submit(client, "sign-in", email="other@example.com").location.startswith("/auth/sign-in?")
    assert submit(client, "verify", code=read_code(chatbotkit_outbox[0])).location == "/auth/account"


def test_proving_oneself_again_is_about_who_is_signed_in(client: FlaskClient, sign_in: SignIn) -> None:
    sign_in(client, ADA)
    client.delete_cookie("session")  # the remember cookie alone is no fresh proof
    page = client.get("/auth/sign-in").text
    assert re.search(f'<input [^>]*value="{ADA}"[^>]* readonly', page)
    assert "Confirm it&#39;s you" in page
    assert "Not you? Sign out" in page


def test_proving_oneself_again_takes_no_other_address(
    client: FlaskClient, sign_in: SignIn, chatbotkit_outbox: list[Message]
) -> None:
    sign_in(client, ADA)
    client.delete_cookie("session")
    sent = len(chatbotkit_outbox)
    page = client.get(submit(client, "sign-in", email="eve@example.com").location)
    assert page.status_code == 400
    assert "Sign out first" in page.text
    assert re.search(f'<input [^>]*value="{ADA}"[^>]* readonly', page.text)
    assert f'value="{ADA}"' in client.get("/auth/sign-in?email=eve@example.com").text
    assert len(chatbotkit_outbox) == sent
    # The own address, as people write it.
    assert submit(client, "sign-in", email=" Ada@EXAMPLE.com ").location == "/auth/verify"
    asked = client.get("/auth/verify").text
    assert "Not you? Sign out" in asked
    assert "Use a different email" not in asked
    assert submit(client, "verify", code=read_code(chatbotkit_outbox[-1])).status_code == 303
    assert client.get("/dashboard").text == f"Hello {ADA}"


def test_whoever_signs_out_first_uses_another_address(client: FlaskClient, sign_in: SignIn) -> None:
    sign_in(client, ADA)
    client.delete_cookie("session")
    submit(client, "sign-out")
    assert "readonly" not in client.get("/auth/sign-in").text
    assert submit(client, "sign-in", email="eve@example.com").location == "/auth/verify"
