"""A front end on another origin of the same site, over real HTTPS, in Chromium: ``docs/spa`` beside Flask-CORS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask, Response
from flask_mail import Message
from playwright.sync_api import Browser, Page, expect, sync_playwright

from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp
from tests.support.certificates import self_signed
from tests.support.pages import heading
from tests.support.serving import served
from tests.support.steps import ADA

SPA = Path(__file__).parents[2] / "docs" / "spa"
# A browser that leaves a page breaks off its connections.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"), "*.shop.test", "*.other.test")


@pytest.fixture(scope="module")
def secure_browser(chromium: str) -> Iterator[Browser]:
    """A Chromium that finds every host here, and takes the certificate of the test."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--ignore-certificate-errors", "--host-resolver-rules=MAP *.test 127.0.0.1"],
        )
        yield browser
        browser.close()


def front_end(api: Callable[[], str]) -> Flask:
    """Return what serves ``docs/spa``, of which only the address of the API is changed."""
    front = Flask("front", static_folder=None)

    @front.get("/<name>")
    def file(name: str) -> Response:
        text = (SPA / name).read_text(encoding="utf-8").replace('const AUTH = "/auth"', f'const AUTH = "{api()}/auth"')
        return Response(text, mimetype="text/javascript" if name.endswith(".js") else "text/html")

    return front


@pytest.fixture
def visit(
    make_app: MakeApp, secure_browser: Browser, certificate: tuple[Path, Path]
) -> Iterator[Callable[[str], tuple[Page, str]]]:
    """Open the front end under a host name, and return its page and the origin of the API, ``api.shop.test``."""
    cors: Any = pytest.importorskip("flask_cors")
    origin = ""
    with served(front_end(lambda: origin), certificate) as front_origin:
        front_port = urlsplit(front_origin).port
        trusted = f"https://app.shop.test:{front_port}"
        app = make_app(CHATBOTKIT_AUTH_TRUSTED_ORIGINS=[trusted], SESSION_COOKIE_SECURE=True)
        cors.CORS(app, origins=[trusted], supports_credentials=True, allow_headers=["Content-Type", "X-CSRFToken"])
        with served(app, certificate) as api_origin, secure_browser.new_context() as context:
            origin = f"https://api.shop.test:{urlsplit(api_origin).port}"

            def visit(host: str) -> tuple[Page, str]:
                page = context.new_page()
                page.goto(f"https://{host}:{front_port}/index.html")
                return page, origin

            yield visit


def test_a_front_end_of_the_same_site_signs_in_reloads_and_signs_out(
    visit: Callable[[str], tuple[Page, str]], chatbotkit_outbox: list[Message]
) -> None:
    page, _api = visit("app.shop.test")
    heading(page, "Sign in")
    page.get_by_label("Email address").fill(ADA)
    page.get_by_role("button", name="Send code").click()
    heading(page, "Check your email")
    page.reload()
    heading(page, "Check your email")
    page.get_by_label("Code").fill(read_code(chatbotkit_outbox[-1]))
    page.get_by_label("Code").press("Enter")
    heading(page, f"Hello, {ADA}")
    page.reload()
    heading(page, f"Hello, {ADA}")
    page.get_by_role("button", name="Sign out").click()
    heading(page, "Sign in")


@pytest.mark.parametrize("host", ["evil.shop.test", "app.other.test"])
def test_another_origin_reads_nothing_and_does_nothing(
    visit: Callable[[str], tuple[Page, str]], chatbotkit_outbox: list[Message], host: str
) -> None:
    page, api = visit(host)
    expect(page.get_by_role("alert")).to_have_text("We cannot reach the server. Try again in a moment.")
    assert page.evaluate(
        "url => fetch(url, {credentials: 'include'}).catch(error => error.name)", f"{api}/auth/session"
    )
    # What a form can send, too: no question is asked before it, and the answer cannot be read.
    sent = page.evaluate(
        "url => fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include', "
        "body: new URLSearchParams({email: 'ada@example.com'})}).then(answer => answer.type)",
        f"{api}/auth/sign-in",
    )
    assert sent == "opaque"
    assert chatbotkit_outbox == []


def test_the_cookies_of_a_front_end_on_another_site_stay_away(
    visit: Callable[[str], tuple[Page, str]], chatbotkit_outbox: list[Message]
) -> None:
    """``SameSite=Lax`` keeps them back, whatever CORS allows: this is what cannot work."""
    page, api = visit("app.other.test")
    page.evaluate("url => fetch(url, {mode: 'no-cors', credentials: 'include'})", f"{api}/auth/session")
    assert page.context.cookies(api) == []


# In development: a proxy in front of both


@pytest.mark.parametrize("changes_host", [False, True])
def test_the_proxy_of_a_development_server_needs_no_setting(make_app: MakeApp, changes_host: bool) -> None:
    """As Vite's does, with and without ``changeOrigin``: the browser says ``same-origin``, whatever host arrives."""
    client = make_app().test_client()
    host = "127.0.0.1:5000" if changes_host else "localhost:5173"
    client.environ_base.update(HTTP_HOST=host, HTTP_ORIGIN="http://localhost:5173", HTTP_SEC_FETCH_SITE="same-origin")
    token = client.get("/auth/session").get_json()["csrf_token"]
    answer = client.post("/auth/sign-in", json={"email": ADA}, headers={"X-CSRFToken": token})
    assert answer.status_code == 200
