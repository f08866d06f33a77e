"""The example of a single-page application in ``docs/spa``, in a real browser, with nothing of it changed."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Response, send_from_directory
from flask_mail import Message
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.pages import button, heading
from tests.support.serving import served

SPA = Path(__file__).parents[2] / "docs" / "spa"
ADA = "ada@example.com"
POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'"

Visit = Callable[..., Page]

# A browser that leaves a page breaks off what it was loading; the server then drops the file it was sending, unclosed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture
def visit(browser: Browser, make_app: MakeApp, chatbotkit_outbox: list[Message]) -> Iterator[Visit]:
    """Open the example, served by an application with settings of one's own; a fault of its script fails the test."""
    faults: list[str] = []
    closing: list[Callable[[], Any]] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            faults.append(message.text)

    def visit(**config: Any) -> Page:
        app = make_app(**config)

        @app.get("/spa/<name>")
        def spa(name: str) -> Response:
            response = send_from_directory(SPA, name)
            response.headers["Content-Security-Policy"] = POLICY
            return response

        server = served(app)
        context = browser.new_context(base_url=server.__enter__())
        closing.extend((context.close, lambda: server.__exit__(None, None, None)))
        context.on("console", listen)
        context.on("weberror", lambda error: faults.append(str(error.error)))
        page = context.new_page()
        page.goto("/spa/index.html")
        return page

    yield visit
    for close in closing:
        close()
    gc.collect()
    assert faults == []


def ask_for_code(page: Page) -> None:
    page.get_by_label("Email address").fill(ADA)
    button(page, "Send code").click()


def type_code(page: Page, code: str) -> None:
    page.get_by_label("Code").fill(code)
    page.get_by_label("Code").press("Enter")


def test_a_person_comes_in_and_goes(visit: Visit, chatbotkit_outbox: list[Message], clock: Clock) -> None:
    page = visit(CHATBOTKIT_AUTH_RESEND_COOLDOWN=1)
    heading(page, "Sign in")
    expect(page.get_by_label("Email address")).to_be_focused()
    ask_for_code(page)
    heading(page, "Check your email")
    expect(page.get_by_label("Code")).to_be_focused()

    type_code(page, "zzzzzz")
    expect(page.get_by_role("alert")).to_have_text(re.compile(r"^That code isn't right.* Tries left: 4\.$"))

    again = button(page, "Send a new code")
    expect(again).to_have_attribute("aria-disabled", "false")
    clock.advance(1)
    again.click()
    expect(page.get_by_role("status")).to_contain_text("Another code is on its way.")
    expect(page.get_by_role("alert")).to_be_empty()
    assert len(chatbotkit_outbox) == 2

    type_code(page, read_code(chatbotkit_outbox[0]))
    heading(page, f"Hello, {ADA}")
    page.reload()
    heading(page, f"Hello, {ADA}")
    button(page, "Sign out").click()
    heading(page, "Sign in")
    page.reload()
    heading(page, "Sign in")


def test_after_a_reload_the_person_goes_on_where_they_were(
    visit: Visit, chatbotkit_outbox: list[Message], clock: Clock
) -> None:
    """As on a phone whose browser drops the page while its person reads the mail."""
    page = visit()
    ask_for_code(page)
    heading(page, "Check your email")
    clock.advance(10)
    page.reload()
    heading(page, "Check your email")
    expect(page.get_by_label("Code")).to_be_focused()
    expect(button(page, "Send a new code")).to_have_attribute("aria-disabled", "true")
    type_code(page, read_code(chatbotkit_outbox[-1]))
    heading(page, f"Hello, {ADA}")
    button(page, "Sign out").click()
    heading(page, "Sign in")
    # What has expired is not gone back to.
    ask_for_code(page)
    heading(page, "Check your email")
    clock.advance(601)
    page.reload()
    heading(page, "Sign in")


def test_whoever_is_too_fast_waits_and_tries_again(visit: Visit, clock: Clock) -> None:
    page = visit(CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "1/3seconds"})
    ask_for_code(page)
    heading(page, "Check your email")
    button(page, "Use a different email").click()
    ask_for_code(page)
    expect(page.get_by_role("alert")).to_contain_text("asked for too many codes")
    ask = button(page, "Send code")
    expect(ask).to_have_attribute("aria-disabled", "true")
    expect(ask).to_have_attribute("aria-disabled", "false")
    clock.advance(3)
    ask.click()
    heading(page, "Check your email")


def test_whoever_has_no_try_left_starts_again(visit: Visit, chatbotkit_outbox: list[Message]) -> None:
    page = visit()
    ask_for_code(page)
    for left in (4, 3, 2, 1):
        type_code(page, "zzzzzz")
        expect(page.get_by_role("alert")).to_contain_text(f"Tries left: {left}.")
    type_code(page, "zzzzzz")
    heading(page, "Sign in")
    expect(page.get_by_role("alert")).to_contain_text("that was the last try")
    button(page, "Send code").click()
    heading(page, "Check your email")
    type_code(page, read_code(chatbotkit_outbox[-1]))
    heading(page, f"Hello, {ADA}")


def test_a_token_that_is_no_longer_good_is_fetched_again(visit: Visit) -> None:
    page = visit()
    heading(page, "Sign in")
    page.context.clear_cookies()
    ask_for_code(page)
    heading(page, "Check your email")


def test_a_server_that_cannot_be_reached_is_told(visit: Visit) -> None:
    page = visit()
    heading(page, "Sign in")
    page.context.set_offline(True)
    ask_for_code(page)
    expect(page.get_by_role("alert")).to_have_text("We cannot reach the server. Try again in a moment.")
    page.context.set_offline(False)
    button(page, "Send code").click()
    heading(page, "Check your email")
