"""A front end on another origin, in a real browser, over HTTPS: the page and the settings of ``docs/apps``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, jsonify, send_file
from flask_login import current_user, login_required
from flask_mail import Message
from playwright.sync_api import Browser, Page, expect

from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp
from tests.support.certificates import self_signed
from tests.support.samples import SAMPLES
from tests.support.serving import served
from tests.support.steps import ADA

FRONT = Path(__file__).parents[2] / "docs" / "apps" / "front.js"
FORMS = "".join(
    f'<form id="{id}">{field}<button>{id}</button></form>'
    for id, field in (("ask", '<input id="email">'), ("type", '<input id="code">'), ("look", ""), ("leave", ""))
)

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


class Elsewhere:
    """The shop, and pages on other origins that use it."""

    def __init__(self, shop: Flask, browser: Browser, certificate: tuple[Path, Path], stack: ExitStack) -> None:
        self._shop, self._stack = shop, stack
        self._certificate = certificate
        self._context = stack.enter_context(browser.new_context(ignore_https_errors=True))
        self.answers: list[Any] = []
        self._context.on("response", lambda response: self.answers.append(response))
        self._served = ""

    def front(self, host: str) -> str:
        """Serve the front end under a host; return its origin."""
        app = Flask("front")
        site = f'<meta charset="utf-8"><script>window.SITE = "{{}}"</script>{FORMS}<output id="said"></output>'
        app.add_url_rule("/", "page", lambda: site.format(self._served) + '<script src="front.js"></script>')
        app.add_url_rule("/front.js", "script", lambda: send_file(FRONT))
        return self._stack.enter_context(served(app, self._certificate, host=host))

    def serve(self, *origins: str) -> None:
        """Serve the shop, which lets these origins use it as the documentation shows."""
        (block,) = [each for each in SAMPLES if "from flask_cors" in each.code and each.where.startswith("apps.rst")]
        code = block.code.replace('["https://app.example.net"]', repr([*origins]))
        exec(compile(code, block.where, "exec"), {"app": self._shop})  # noqa: S102  # our own
        self._served = self._stack.enter_context(served(self._shop, self._certificate, host="shop.localhost"))

    def open(self, origin: str) -> Page:
        page = self._context.new_page()
        page.goto(origin)
        return page

    def cookies(self) -> list[Any]:
        return self._context.cookies()


@pytest.fixture
def elsewhere(browser: Browser, make_app: MakeApp, tmp_path: Path) -> Iterator[Elsewhere]:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True)

    @app.get("/notes")
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login has no type information
    def notes() -> Any:
        return jsonify(owner=current_user.email)

    with ExitStack() as stack:
        yield Elsewhere(app, browser, self_signed(tmp_path, "shop.localhost"), stack)


def press(page: Page, form: str) -> None:
    page.get_by_role("button", name=form, exact=True).click()


def test_a_front_end_on_another_origin_signs_in_and_out(elsewhere: Elsewhere, chatbotkit_outbox: list[Message]) -> None:
    origin = elsewhere.front("127.0.0.1")
    elsewhere.serve(origin)
    page = elsewhere.open(origin)
    said = page.locator("#said")
    page.locator("#email").fill(ADA)
    press(page, "ask")
    expect(said).to_have_text("We sent a code to a•••@example.com.")
    page.locator("#code").fill("zzzzzz")
    press(page, "type")
    expect(said).to_contain_text("That code isn't right")
    page.locator("#code").fill(read_code(chatbotkit_outbox[-1]))
    press(page, "type")
    expect(said).to_have_text(ADA)
    press(page, "leave")
    expect(said).to_have_text("Signed out.")
    press(page, "look")
    expect(said).not_to_have_text("Signed out.")
    expect(said).not_to_have_text(ADA)
    assert elsewhere.cookies() == []


def test_an_origin_that_is_not_listed_reads_nothing(elsewhere: Elsewhere, chatbotkit_outbox: list[Message]) -> None:
    evil = elsewhere.front("evil.localhost")
    elsewhere.serve("https://app.example.net")
    page = elsewhere.open(evil)
    page.locator("#email").fill(ADA)
    press(page, "ask")
    expect(page.locator("#said")).to_have_text("Failed to fetch")
    # The browser asked first, and sent nothing.
    assert chatbotkit_outbox == []
    assert elsewhere.cookies() == []
