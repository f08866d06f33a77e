"""Two sites in one real browser: what a link and a form of another site can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask, request
from flask.typing import ResponseReturnValue

from tests.support.apps import MakeApp
from tests.support.serving import served
from tests.support.steps import ADA


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], int]]:
    """Serve an application, and return its port."""
    with ExitStack() as stack:
        yield lambda app: urlsplit(stack.enter_context(served(app))).port or 0


def ask_for_code(page: Any, shop: str) -> None:
    page.goto(f"{shop}/auth/sign-in")
    page.fill("#email", ADA)
    page.click("button[type=submit]")
    page.wait_for_url("**/auth/verify")


def test_a_link_from_elsewhere_finds_the_strict_session(
    make_app: MakeApp, browser: Any, serve: Callable[[Flask], int]
) -> None:
    port = serve(make_app(SESSION_COOKIE_SAMESITE="Strict"))
    mail = Flask("mail")
    mail.add_url_rule("/", "link", lambda: f'<a href="http://shop.localhost:{port}/auth/verify">open</a>')
    elsewhere = serve(mail)
    with browser.new_context() as context:
        page = context.new_page()
        ask_for_code(page, f"http://shop.localhost:{port}")
        page.goto(f"http://127.0.0.1:{elsewhere}/")
        page.click("a")
        page.wait_for_selector("#code")
        assert ADA in page.inner_text("main").replace("\n", "")


@pytest.mark.parametrize(
    ("samesite", "method", "path"),
    [
        ("Lax", "post", "/auth/sign-in"),
        ("Lax", "post", "/auth/verify"),
        ("Lax", "post", "/auth/sign-out"),
        ("Lax", "post", "/auth/account/profile"),
        ("Strict", "post", "/auth/sign-in"),
        ("Strict", "get", "/auth/session"),
    ],
)
def test_another_site_replaces_nobodys_session(
    make_app: MakeApp, browser: Any, serve: Callable[[Flask], int], samesite: str, method: str, path: str
) -> None:
    shop = f"http://shop.localhost:{serve(make_app(SESSION_COOKIE_SAMESITE=samesite))}"
    evil = Flask("evil")
    form = (
        f'<form method="{method}" action="{shop}{path}"><input name="email" value="eve@x.example"><button>go</button>'
    )
    evil.add_url_rule("/", "form", lambda: form)
    elsewhere = serve(evil)
    with browser.new_context() as context:
        page = context.new_page()
        ask_for_code(page, shop)
        before = context.cookies()
        page.goto(f"http://127.0.0.1:{elsewhere}/")
        with page.expect_navigation():
            page.click("button")
        page.wait_for_load_state()
        if method == "get":
            page.get_by_text('"csrf_token"').wait_for()  # the first answer is a page that loads itself again
        assert context.cookies() == before
        if method == "post":
            assert "That came from another site" in page.inner_text("main")
            page.click("text=Try again")
            page.wait_for_load_state()
            assert page.url.startswith(f"{shop}/auth/")
        page.goto(f"{shop}/auth/verify")
        page.wait_for_selector("#code")
        assert ADA in page.inner_text("main").replace("\n", "")


@pytest.mark.parametrize("policy", ["no-referrer", "unsafe-url"])
def test_a_form_of_a_neighbour_is_refused(
    make_app: MakeApp, browser: Any, serve: Callable[[Flask], int], chatbotkit_outbox: list[Any], policy: str
) -> None:
    app = make_app()
    port = serve(app)
    shop = f"http://shop.localhost:{port}"
    neighbour = Flask("neighbour")

    # It has planted a session of its own, whose token it knows.
    eve = app.test_client()
    token = eve.get("/auth/session").get_json()["csrf_token"]
    planted = eve.get_cookie("session")
    assert planted is not None

    @neighbour.get("/")
    def form() -> ResponseReturnValue:
        assert request.host
        return (
            f'<form method="post" action="{shop}/auth/sign-in"><input name="csrf_token" value="{token}">'
            f'<input name="email" value="{ADA}"><button>go</button></form>',
            200,
            {"Referrer-Policy": policy},
        )

    evil = serve(neighbour)
    with browser.new_context() as context:
        context.add_cookies([{"name": "session", "value": planted.value, "url": shop}])
        page = context.new_page()
        page.goto(f"http://evil.localhost:{evil}/")
        with page.expect_navigation():
            page.click("button")
        page.wait_for_load_state()
        assert "That came from another site" in page.inner_text("main")
        assert page.input_value("#email") == ""
    assert chatbotkit_outbox == []
