"""The pages: what a person without JavaScript sees and does, and what protects them there."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import ChatBotKitAuth, MemoryStore
from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp

ADA = "ada@example.com"
CODE_PAGE = f"Check your email – {ADA} – Shop"
POSTS = ("/auth/sign-in", "/auth/verify", "/auth/resend", "/auth/sign-out")
SignIn = Callable[..., TestResponse]


class Browser:
    """Fills in the forms of the page before, as a person does."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.answer: TestResponse | None = None

    def open(self, path: str) -> Browser:
        self.answer = self.client.get(path, follow_redirects=True)
        return self

    def submit(self, action: str, follow: bool = True, **fields: str) -> Browser:
        forms = re.findall(r"<form[^>]*>.*?</form>", self.text_raw, re.DOTALL)
        form = next(each for each in forms if f'action="{action}"' in each)
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
        data = {name: unescape(value) for name, value in hidden.items()} | fields
        self.answer = self.client.post(action, data=data, follow_redirects=follow)
        return self

    @property
    def text_raw(self) -> str:
        assert self.answer is not None
        return self.answer.text

    @property
    def text(self) -> str:
        return unescape(re.sub(r"<[^>]+>", "", self.text_raw))

    @property
    def title(self) -> str:
        found = re.search(r"<title>(.*?)</title>", self.text_raw)
        assert found
        return unescape(found.group(1))

    @property
    def status(self) -> int:
        assert self.answer is not None
        return self.answer.status_code


@pytest.fixture
def browser(client: FlaskClient) -> Browser:
    return Browser(client)


def test_the_whole_way_by_hand(browser: Browser, chatbotkit_outbox: list[Message]) -> None:
    browser.open("/dashboard")
    assert browser.title == "Sign in to Shop"
    browser.submit("/auth/sign-in", email="Ada@Example.com")
    assert browser.title == CODE_PAGE
    assert ADA in browser.text
    browser.submit("/auth/verify", code="zzzzzz")
    assert browser.status == 400
    assert browser.title == f"Error: {CODE_PAGE}"
    assert "4 tries left" in browser.text
    browser.submit("/auth/verify", code=read_code(chatbotkit_outbox[0]))
    assert (browser.status, browser.text) == (200, f"Hello {ADA}")
    browser.open("/auth/sign-out").submit("/auth/sign-out")
    assert browser.title == "Sign in to Shop"
    assert browser.open("/dashboard").title == "Sign in to Shop"
    assert browser.open("/auth/sign-out").title == "You're signed out – Shop"


def test_a_post_is_answered_by_a_redirect(browser: Browser, chatbotkit_outbox: list[Message]) -> None:
    browser.open("/auth/sign-in").submit("/auth/sign-in", follow=False, email=ADA)
    assert browser.answer is not None
    assert (browser.status, browser.answer.headers["Location"]) == (303, "/auth/verify")
    browser.open("/auth/verify").submit("/auth/verify", follow=False, code=read_code(chatbotkit_outbox[0]))
    assert browser.answer is not None
    assert (browser.status, browser.answer.headers["Location"]) == (303, "/auth/account")


def test_an_invalid_address_stays_to_be_corrected(browser: Browser) -> None:
    browser.open("/auth/sign-in?next=/dashboard").submit("/auth/sign-in", email='ada@"><script>')
    assert browser.status == 400
    assert browser.title == "Error: Sign in to Shop"
    assert "Enter a valid email address" in browser.text
    assert "<script>" not in browser.text_raw.replace("<script src", "")
    assert 'aria-invalid="true"' in browser.text_raw
    browser.submit("/auth/sign-in", email=ADA)
    assert browser.title == CODE_PAGE


def test_next_survives_a_mistake(browser: Browser, chatbotkit_outbox: list[Message]) -> None:
    browser.open("/dashboard").submit("/auth/sign-in", email="wrong").submit("/auth/sign-in", email=ADA)
    browser.submit("/auth/verify", code=read_code(chatbotkit_outbox[0]))
    assert browser.text == f"Hello {ADA}"


def test_the_last_wrong_code_offers_a_new_start(browser: Browser) -> None:
    browser.open("/auth/sign-in").submit("/auth/sign-in", email=ADA)
    for _ in range(5):
        browser.submit("/auth/verify", code="zzzzzz")
    assert browser.status == 400
    assert "Send a new code" in browser.text
    assert 'name="code"' not in browser.text_raw


def test_an_expired_code_offers_a_new_one(browser: Browser, clock: Clock, chatbotkit_outbox: list[Message]) -> None:
    browser.open("/dashboard").submit("/auth/sign-in", email=ADA)
    clock.advance(601)
    browser.submit("/auth/verify", code="3f9a2c")
    assert browser.status == 400
    assert "expired" in browser.text
    assert browser.open("/auth/verify").title == f"This code has expired – {ADA} – Shop"
    assert browser.submit("/auth/resend").title == f"New code sent – {ADA} – Shop"
    assert len(chatbotkit_outbox) == 2
    browser.submit("/auth/verify", code=read_code(chatbotkit_outbox[-1]))
    assert browser.text == f"Hello {ADA}", "the new code leads to where the first was to"


def test_another_code_can_be_asked_for(browser: Browser, clock: Clock, chatbotkit_outbox: list[Message]) -> None:
    browser.open("/auth/sign-in").submit("/auth/sign-in", email=ADA)
    assert "You can send a new code in 30 seconds." in browser.text
    browser.submit("/auth/resend")
    assert browser.status == 429
    clock.advance(30)
    browser.submit("/auth/resend")
    assert browser.status == 200
    assert "New code sent" in browser.text
    assert len(chatbotkit_outbox) == 2
    assert browser.open("/auth/resend").title == CODE_PAGE


def test_after_an_outage_a_button_is_enough(
    browser: Browser, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message]
) -> None:
    browser.open("/dashboard").submit("/auth/sign-in", email=ADA)
    chatbotkit_sandbox.fail("*", status=401)
    browser.submit("/auth/verify", code=read_code(chatbotkit_outbox[0]))
    assert (browser.status, browser.title) == (503, f"Nearly there – {ADA} – Shop")
    assert browser.open("/auth/verify").title == f"Nearly there – {ADA} – Shop"
    chatbotkit_sandbox.heal()
    assert browser.submit("/auth/verify").text == f"Hello {ADA}"


def test_a_refusal_says_why(app: Flask, browser: Browser, chatbotkit_outbox: list[Message]) -> None:
    auth: ChatBotKitAuth = app.extensions["test_auth"]
    auth.sign_in_callback(lambda identifier, user: "Your <trial> has ended.")
    browser.open("/auth/sign-in").submit("/auth/sign-in", email=ADA)
    browser.submit("/auth/verify", code=read_code(chatbotkit_outbox[0]))
    assert browser.status == 403
    assert "Your <trial> has ended." in browser.text
    assert "<trial>" not in browser.text_raw


def test_too_many_requests_say_how_long(make_app: MakeApp) -> None:
    browser = Browser(make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "1/hour"}).test_client())
    browser.open("/auth/sign-in").submit("/auth/sign-in", email=ADA)
    browser.open("/auth/sign-in").submit("/auth/sign-in", email=ADA)
    assert browser.status == 429
    assert re.search(r"Wait (60|59) minutes", browser.text)
    assert browser.answer is not None
    assert 3500 < int(browser.answer.headers["Retry-After"]) <= 3600


def test_without_a_challenge_the_code_page_is_the_sign_in_page(browser: Browser) -> None:
    assert browser.open("/auth/verify").title == "Sign in to Shop"


def test_who_is_signed_in_is_sent_on(client: FlaskClient, sign_in: SignIn) -> None:
    sign_in(client, ADA)
    assert client.get("/auth/sign-in?next=/dashboard").headers["Location"] == "/dashboard"
    assert client.get("/auth/sign-in?next=//evil.example").headers["Location"] == "/auth/account"


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("token", [None, "", "forged", "IjAi.x.y"])
def test_a_post_without_its_token_changes_nothing(
    client: FlaskClient, sign_in: SignIn, chatbotkit_outbox: list[Message], path: str, token: str | None
) -> None:
    sign_in(client, ADA)
    sent = len(chatbotkit_outbox)
    data = {"email": ADA, "code": "3f9a2c"} | ({} if token is None else {"csrf_token": token})
    page = client.post(path, data=data, follow_redirects=True)
    assert page.status_code == 403
    # Who is signed in already has nothing to try again on the pages for a code.
    assert ("signed in as" if path in ("/auth/verify", "/auth/resend") else "try again") in page.text
    headers = {} if token is None else {"X-CSRFToken": token}
    answer = client.post(path, json={"email": ADA, "code": "3f9a2c"}, headers=headers)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "csrf")
    assert len(chatbotkit_outbox) == sent
    assert client.get("/dashboard").status_code == 200


def test_a_refusal_for_its_token_is_logged(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    client.post("/auth/sign-in", data={"email": ADA})
    assert "/auth/sign-in refused to 127.0.0.1: The CSRF token is missing." in caplog.text


@pytest.mark.parametrize("path", POSTS)
def test_another_browsers_token_does_not_count(app: Flask, path: str) -> None:
    attacker, victim = app.test_client(), app.test_client()
    token = attacker.get("/auth/session").get_json()["csrf_token"]
    victim.get("/auth/sign-in")
    answer = victim.post(path, json={"email": ADA}, headers={"X-CSRFToken": token})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "csrf")


def test_an_applications_own_csrf_protection_gets_along(make_app: MakeApp, sign_in: SignIn) -> None:
    from flask_wtf import CSRFProtect

    app = make_app()
    CSRFProtect(app)
    client = app.test_client()
    assert client.post("/auth/sign-in", json={"email": ADA}).get_json()["error"]["code"] == "csrf"
    assert sign_in(client, ADA).status_code == 200


@pytest.mark.parametrize("path", ["/auth/resend", "/auth/verify", "/auth/sign-out", "/auth/sign-in"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_mail_scanner_consumes_nothing(
    browser: Browser, client: FlaskClient, chatbotkit_outbox: list[Message], path: str, method: str
) -> None:
    browser.open("/auth/sign-in").submit("/auth/sign-in", email=ADA)
    code = read_code(chatbotkit_outbox[0])
    client.open(path, method=method, query_string={"code": code, "email": ADA})
    assert len(chatbotkit_outbox) == 1
    browser.open("/auth/verify").submit("/auth/verify", code=code)
    assert client.get("/dashboard").status_code == 200


@pytest.mark.parametrize(
    "path", ["/auth/account?tab=2", "/auth/account/email", "/auth/sign-in", "/auth/verify", "/auth/link?t=x"]
)
@pytest.mark.parametrize("signed_in", [False, True])
def test_head_answers_as_get_does(make_app: MakeApp, sign_in: SignIn, clock: Clock, path: str, signed_in: bool) -> None:
    app = make_app(
        CHATBOTKIT_AUTH_EMAIL_CHANGE=True, CHATBOTKIT_AUTH_MAIL_LINK=True, CHATBOTKIT_AUTH_ORIGIN="http://localhost"
    )
    client = app.test_client()
    if signed_in:
        sign_in(client, ADA)
        clock.advance(timedelta(hours=2))
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.location) == (got.status_code, got.location)


@pytest.mark.parametrize("path", ["/auth/session", "/auth/account"])
def test_a_stranger_who_comes_by_keeps_the_cookie_as_it_is(client: FlaskClient, path: str) -> None:
    assert "Set-Cookie" in client.get("/auth/sign-in").headers
    assert "Set-Cookie" not in client.get(path).headers


def test_the_session_is_json_even_when_it_cannot_be_read(
    make_app: MakeApp, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(CHATBOTKIT_AUTH_SESSION_CHECK=0)
    client = app.test_client()
    sign_in(client, ADA)

    def fail(*_: object, **__: object) -> None:
        raise StoreError("gone")

    monkeypatch.setattr(app.extensions["chatbotkit_auth"].store, "get_session", fail)
    answer = client.get("/auth/session", headers={"Accept": "*/*"})
    assert answer.status_code == 503
    assert answer.get_json()["error"]["code"] == "store_unavailable"


@pytest.mark.parametrize("path", ["/auth/sign-in", "/auth/sign-out", "/auth/session", "/auth/verify"])
def test_every_answer_is_protected(client: FlaskClient, path: str) -> None:
    answers = [client.get(path)] if path == "/auth/session" else [client.get(path), client.post(path)]
    for answer in answers:
        headers = answer.headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert "unsafe-inline" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy


def test_pages_have_nothing_inline(browser: Browser) -> None:
    browser.open("/auth/sign-in")
    pages = [browser.text_raw, browser.submit("/auth/sign-in", email=ADA).text_raw]
    for page in pages:
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page)


def test_styles_and_script_may_be_cached(client: FlaskClient) -> None:
    for name in ("auth.css", "auth.js", "icon.svg"):
        with client.get(f"/auth/static/{name}") as answer:
            assert answer.status_code == 200
            assert "no-store" not in answer.headers.get("Cache-Control", "")


@pytest.mark.parametrize("kind", ["form", "json"])
def test_an_oversized_body_is_refused(client: FlaskClient, kind: str) -> None:
    token = client.get("/auth/session").get_json()["csrf_token"]
    body: dict[str, Any] = {"email": "a" * 100_000}
    sent: dict[str, Any] = {"json": body} if kind == "json" else {"data": body}
    answer = client.post("/auth/sign-in", headers={"X-CSRFToken": token}, **sent)
    assert answer.status_code == 413


def test_the_cookie_holds_no_person_and_stays_small(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    # A name that no hexadecimal digest can spell.
    chatbotkit_sandbox.add_user("grace@example.com", name="Grace Hopper", meta={"big": "x" * 12_000})
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False)
    client = app.test_client()
    sign_in(client, "grace@example.com")
    client.get("/auth/session")
    cookies = {name: client.get_cookie(name) for name in ("session", "remember_token")}
    total = 0
    serializer = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    for name, cookie in cookies.items():
        assert cookie is not None
        assert cookie.http_only
        assert cookie.same_site == "Lax"
        total += len(name) + len(cookie.value)
        opened = str(serializer.loads(cookie.value)) if name == "session" else cookie.value
        assert not re.search("grace|hopper|@|example", opened.lower())
    assert total < 1024


def test_secure_cookies_are_secure(make_app: MakeApp, sign_in: SignIn) -> None:
    client = make_app(SESSION_COOKIE_SECURE=True).test_client()
    answer = client.get("/auth/sign-in", base_url="https://localhost")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert make_app(SESSION_COOKIE_SECURE=True).config["REMEMBER_COOKIE_SECURE"] is True


def test_a_cookie_that_a_neighbour_plants_is_not_taken(
    make_app: MakeApp, chatbotkit_outbox: list[Message], sign_in: SignIn
) -> None:
    # As the documentation has it: a browser takes a name that begins with __Host- from nobody but the host itself.
    names = {"SESSION_COOKIE_NAME": "__Host-session", "REMEMBER_COOKIE_NAME": "__Host-remember"}
    store = MemoryStore()
    client = make_app(store=store, SESSION_COOKIE_SECURE=True, **names).test_client()
    eve = make_app(store=store).test_client()
    sign_in(eve, "eve@example.com")
    for name in ("session", "remember_token"):
        planted = eve.get_cookie(name)
        assert planted is not None
        client.set_cookie(name, planted.value)
    secure: dict[str, Any] = {"base_url": "https://localhost", "headers": {"Referer": "https://localhost/auth/verify"}}
    assert client.get("/auth/session", **secure).get_json()["user"] is None
    answers = []
    for path, field in (("sign-in", {"email": ADA}), ("verify", None)):
        token = client.get("/auth/session", **secure).get_json()["csrf_token"]
        fields = field or {"code": read_code(chatbotkit_outbox[-1])}
        answers.append(client.post(f"/auth/{path}", data={**fields, "csrf_token": token}, **secure))
    assert client.get("/dashboard", **secure).text == f"Hello {ADA}"
    lines = [line for answer in answers for line in answer.headers.getlist("Set-Cookie")]
    assert {line.partition("=")[0] for line in lines} == {*names.values(), "__Host-chatbotkit_auth_device"}
    for line in lines:
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(line.split("; "))
        assert "Domain" not in line


@pytest.mark.parametrize(
    "referrer", ["https://evil.shop.example/", "https://shop.example.evil/", "http://shop.example/", ""]
)
def test_over_https_a_form_of_a_neighbour_does_nothing_even_with_the_token(app: Flask, referrer: str) -> None:
    # A neighbour under the same domain is the same site to SameSite, and may have planted a cookie whose token it knows.
    client = app.test_client()
    token = client.get("/auth/session", base_url="https://shop.example").get_json()["csrf_token"]
    form, headers = {"email": ADA, "csrf_token": token}, {"Referer": referrer} if referrer else {}
    refused = client.post("/auth/sign-in", data=form, base_url="https://shop.example", headers=headers)
    assert client.get(refused.location, base_url="https://shop.example").status_code == 403
    headers["Referer"] = "https://shop.example/auth/sign-in"
    taken = client.post("/auth/sign-in", data=form, base_url="https://shop.example", headers=headers)
    assert taken.status_code == 303


def test_the_prefix_can_be_moved(make_app: MakeApp, sign_in: SignIn) -> None:
    client = make_app(CHATBOTKIT_AUTH_URL_PREFIX="/account/in/").test_client()
    assert client.get("/dashboard").headers["Location"].startswith("/account/in/sign-in")
    assert sign_in(client, ADA, prefix="/account/in").status_code == 200


def test_signing_out_can_lead_elsewhere(make_app: MakeApp, sign_in: SignIn) -> None:
    client = make_app(CHATBOTKIT_AUTH_SIGN_OUT_REDIRECT="/bye").test_client()
    sign_in(client, ADA)
    browser = Browser(client).open("/auth/sign-out").submit("/auth/sign-out", follow=False)
    assert browser.answer is not None
    assert browser.answer.headers["Location"] == "/bye"


def test_pages_are_the_applications_to_replace(make_app: MakeApp, tmp_path: Any) -> None:
    own = tmp_path / "templates" / "chatbotkit_auth"
    own.mkdir(parents=True)
    (own / "base.html").write_text(
        '{% extends "chatbotkit_auth/layout.html" %}{% block footer %}Our imprint{% endblock %}'
    )
    app = make_app()
    app.jinja_loader.searchpath.insert(0, str(tmp_path / "templates"))  # type: ignore[union-attr]
    assert "Our imprint" in app.test_client().get("/auth/sign-in").text


def test_the_brand_is_shown(make_app: MakeApp) -> None:
    app = make_app(CHATBOTKIT_AUTH_SITE_NAME="Ada & Co", CHATBOTKIT_AUTH_LOGO_URL="https://shop.example/logo.svg")
    page = app.test_client().get("/auth/sign-in").text
    assert "Sign in to Ada &amp; Co" in page
    assert 'src="https://shop.example/logo.svg"' in page
