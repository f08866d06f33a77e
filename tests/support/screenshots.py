"""Every page and mail in every state, and pictures of them: ``python -m tests.support.screenshots OUTDIR``.

Also the few pieces that the browser tests share with it.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from flask import Flask
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from example_app import create_app
from example_app.demo import Demo
from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.stores import Store
from tests.support.services import CHROMIUM
from tests.support.serving import served

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE: ViewportSize = {"width": 360, "height": 740}
LANDSCAPE: ViewportSize = {"width": 740, "height": 360}
DESKTOP: ViewportSize = {"width": 1280, "height": 800}


@contextmanager
def chromium_at(path: str) -> Iterator[Browser]:
    """Run a Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def demo_of(app: Flask) -> Demo:
    """Return the demo of an example application."""
    demo: Demo = app.extensions["example_demo"]
    return demo


def newest_code(app: Flask) -> str:
    """Return the code that arrived last; a notice holds none."""
    return codes(app)[0]


def codes(app: Flask) -> list[str]:
    """Return the codes that have arrived, the newest first."""
    found = []
    for mail in demo_of(app).mails():
        body = mail.message.get_body(("plain",))
        code = re.search(r"^ +(\d+)\s*$", body.get_content() if body else "", re.MULTILINE)
        found += [code.group(1)] if code else []
    return found


def newest_link(app: Flask) -> str:
    """Return the path of the link in the mail that arrived last."""
    body = demo_of(app).mails()[0].message.get_body(("plain",))
    found = re.search(r"/auth/link\?t=\S+", body.get_content() if body else "")
    if found is None:
        raise ValueError("the mail that arrived last holds no link")
    return found.group(0)


def newest_mail(app: Flask) -> str:
    """Return the path of the mail that arrived last."""
    return f"/inbox/{demo_of(app).mails()[0].id}"


def tour(app: Flask, page: Page, origin: str) -> Iterator[str]:
    """Lead a browser through every page and mail in every state; give the name of each while it is there to be seen."""
    auth = app.extensions["chatbotkit_auth"]
    sandbox = demo_of(app).sandbox
    assert sandbox
    sandbox.token_delay = 0

    def press(name: str) -> None:
        with page.expect_navigation():
            page.get_by_role("button", name=name, exact=True).click()

    def go(path: str) -> None:
        page.goto(origin + path)

    def ask(email: str = "ada@example.com", next: str = "/dashboard") -> None:
        go(f"/auth/sign-in?next={next}")
        page.get_by_label("Email address").fill(email)
        press("Send code")

    def answer(code: str | None = None) -> None:
        # Filled in at once, it is sent by itself.
        with page.expect_navigation():
            page.get_by_label("Code").fill(code or newest_code(app))

    def mistake() -> str:
        code = newest_code(app)
        return ("0" if code[0] != "0" else "1") + code[1:]

    def say(text: str) -> None:
        page.get_by_label("Your message").fill(text)
        page.keyboard.press("Enter")

    # Before anybody is known
    for name, path in {"home": "/", "inbox-empty": "/inbox", "sign-in": "/auth/sign-in"}.items():
        go(path)
        yield name
    ask("ada")
    yield "sign-in-error"
    ask()
    yield "verify"
    go(newest_link(app))
    yield "link"
    go(newest_mail(app))
    yield "mail"
    go("/auth/verify")
    answer(mistake())
    yield "verify-error"
    for _ in range(auth.provider.attempts - 1):
        answer(mistake())
    yield "verify-ended"
    usual = auth.config
    auth.config = replace(usual, resend_cooldown=timedelta(0), resend_max=1)
    ask()
    press("Send a new code")
    page.get_by_text("New code sent").wait_for()
    yield "verify-sent-again"
    auth.config = usual
    answer()
    page.go_back()
    go("/auth/sign-out")
    yield "sign-out"
    press("Sign out")
    go("/auth/sign-out")
    yield "signed-out"

    # What goes wrong
    auth.hooks.sign_in = lambda identifier, user: "Parley is for invited people just now. Ask a friend to bring you in."
    ask("mallory@example.com")
    answer()
    yield "refused"
    auth.hooks.sign_in = None
    app.config["WTF_CSRF_TIME_LIMIT"] = -1
    ask("eve@example.com")
    yield "open-for-too-long"
    app.config["WTF_CSRF_TIME_LIMIT"] = 3600
    ask("eve@example.com")
    with _broken(auth.store):
        answer()
        yield "store-outage"
    sandbox.fail("*/list", status=503)
    go("/auth/verify")
    answer()
    yield "verify-outage"
    go("/auth/verify")
    yield "verify-outage-over"
    sandbox.heal()
    press("Try again")
    go("/auth/sign-out")
    press("Sign out")
    for _ in range(6):
        ask("mia@example.com")
    yield "rate-limited"

    # Inside
    ask("ben@example.com")
    answer()
    yield "dashboard-empty"
    for text in ("Good morning! I have a free afternoon.", "Something outdoors, and not too far away."):
        say(text)
        page.get_by_role("button", name="Send").wait_for()
    yield "dashboard"
    sandbox.fail("*/complete", status=503, times=1)
    say("And if it rains?")
    page.get_by_role("alert").wait_for()
    yield "dashboard-error"
    sandbox.token_delay = 60
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("Nice").last.wait_for()
    yield "dashboard-answering"
    page.get_by_role("button", name="Stop").click()
    go("/")
    yield "home-signed-in"
    go("/inbox")
    yield "inbox"

    # Proving oneself again, and a tab that was left open
    page.context.clear_cookies(name="session")
    go("/auth/sign-in")
    yield "sign-in-again"
    press("Send code")
    page.context.clear_cookies(name="session")
    answer("000000")
    yield "signed-in"

    # The account, on its second device
    page.context.clear_cookies()
    ask("ben@example.com", "/auth/account")
    answer()
    yield "account"
    page.get_by_label("Name").fill("Ben")
    press("Save")
    yield "account-saved"
    auth.config = replace(usual, profile_picture=True)
    go("/auth/account")
    page.get_by_label("Picture").fill("ben.png")
    press("Save")
    yield "account-error"
    auth.config = usual
    go("/auth/account/email")
    yield "account-email"
    auth.config = replace(usual, passkey_offer=True)
    go("/auth/passkey/offer")
    yield "passkey-offer"
    auth.config = usual
    go("/auth/account/activity")
    yield "account-activity"
    go("/auth/account/delete")
    yield "account-delete"
    press("Send code")
    yield "account-delete-code"
    answer(mistake())
    yield "account-delete-error"
    answer()
    yield "account-delete-confirm"
    page.get_by_label("Type your email address to confirm").fill("ben@example")
    press("Delete my account")
    yield "account-delete-confirm-error"
    page.get_by_label("Type your email address to confirm").fill("ben@example.com")
    press("Delete my account")
    yield "account-deleted"

    # Where nobody gets an account by signing in
    auth.adapter.auto_create = False
    auth.config = replace(usual, unknown_user="mail")
    ask("zoe@example.com")
    go(newest_mail(app))
    yield "mail-unknown"


@contextmanager
def _broken(store: Store) -> Iterator[None]:
    def fail(*_: object, **__: object) -> None:
        raise StoreError

    store.try_code = fail  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        del store.try_code


def main(folder: Path) -> None:
    """Fill ``folder`` with the pictures."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    if CHROMIUM is None:
        raise SystemExit("This needs Chromium: install it, or name its path in TEST_CHROMIUM.")
    with chromium_at(CHROMIUM) as browser:
        for size, viewport in (("phone", PHONE), ("landscape", LANDSCAPE), ("desktop", DESKTOP)):
            for colours in ("light", "dark"):
                _fill_album(browser, folder, size, viewport, colours)


def _fill_album(browser: Browser, folder: Path, size: str, viewport: ViewportSize, colours: str) -> None:
    with tempfile.TemporaryDirectory() as instance:
        app = create_app(instance, DEMO=True)
        with served(app) as origin:
            context = browser.new_context(viewport=viewport, color_scheme=colours)  # type: ignore[arg-type]
            page = context.new_page()
            for name in tour(app, page, origin):
                path = folder / f"{name}-{size}-{colours}.png"
                page.screenshot(path=path, full_page=True, animations="disabled", caret="hide")
            context.close()
        sandbox = demo_of(app).sandbox
        assert sandbox
        sandbox.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots"))
