"""Pictures of every page and mail, on a phone and a desktop, light and dark: ``python -m tests.screenshots OUTDIR``.

Also the few pieces that the browser tests share with it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from werkzeug.serving import make_server

from example_app import create_app
from example_app.demo import Demo

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 800}


@contextmanager
def chromium_at(path: str) -> Iterator[Browser]:
    """Run a Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serve an application on a free port, and give its origin."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def demo_of(app: Flask) -> Demo:
    """Return the demo of an example application."""
    demo: Demo = app.extensions["example_demo"]
    return demo


def newest_code(app: Flask) -> str:
    """Return the code of the mail that arrived last."""
    body = demo_of(app).mails()[0].message.get_body(("plain",))
    found = re.search(r"^ +(\S+)\s*$", body.get_content() if body else "", re.MULTILINE)
    if found is None:
        raise ValueError("the mail that arrived last holds no code")
    return found.group(1)


class Album:
    """Takes the pictures of one person's way through the product, in one size and one colour scheme.

    :param look: ends the names of the files, such as ``phone-dark``.
    """

    def __init__(self, app: Flask, page: Page, origin: str, folder: Path, look: str) -> None:
        self._app = app
        self._page = page
        self._origin = origin
        self._folder = folder
        self._look = look

    def fill(self) -> None:
        sandbox = demo_of(self._app).sandbox
        assert sandbox
        page = self._page
        self._open("/", "home")
        self._open("/inbox", "inbox-empty")
        self._open("/auth/sign-in?next=/dashboard", "sign-in")
        page.get_by_label("E-mail address").fill("ada")
        page.get_by_role("button", name="Send me a code").click()
        self._take("sign-in-error")
        page.get_by_label("E-mail address").fill("ada@example.com")
        page.get_by_role("button", name="Send me a code").click()
        page.wait_for_url("**/auth/verify")
        self._take("verify")
        page.get_by_label("Code").press_sequentially("000000" if newest_code(self._app) != "000000" else "111111")
        page.get_by_role("button", name="Sign in").click()
        self._take("verify-error")
        sandbox.fail("*/list", status=503)
        page.get_by_label("Code").press_sequentially(newest_code(self._app))
        page.get_by_role("button", name="Sign in").click()
        self._take("verify-try-again")
        sandbox.heal()
        page.get_by_role("button", name="Try again").click()
        page.wait_for_url("**/dashboard")
        self._take("dashboard-empty")
        self._chat()
        self._open("/auth/account", "account")
        self._open("/auth/account/delete", "account-delete")
        self._open("/auth/sign-out", "sign-out")
        self._open("/", "home-signed-in")
        self._open("/inbox", "inbox")
        id = demo_of(self._app).mails()[0].id
        page.goto(f"{self._origin}/inbox/{id}")
        self._take("mail", page.locator(".page"))
        page.goto(self._origin)
        page.get_by_role("button", name="Sign out").click()
        self._open("/auth/sign-out", "signed-out")

    def _chat(self) -> None:
        page = self._page
        sandbox = demo_of(self._app).sandbox
        assert sandbox
        for text in ("Good morning! I have a free afternoon.", "Something outdoors, and not too far away."):
            page.get_by_label("Your message").fill(text)
            page.keyboard.press("Enter")
            page.get_by_role("button", name="Send").wait_for()
        self._take("dashboard")
        sandbox.fail("*/conversation/complete", status=503, times=1)
        page.get_by_label("Your message").fill("And if it rains?")
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        self._take("dashboard-error")

    def _open(self, path: str, name: str) -> None:
        self._page.goto(self._origin + path)
        self._take(name)

    def _take(self, name: str, part: Locator | None = None) -> None:
        self._page.wait_for_load_state("networkidle")
        path = self._folder / f"{name}-{self._look}.png"
        if part is None:
            self._page.screenshot(path=path, full_page=True, animations="disabled", caret="hide")
        else:
            part.screenshot(path=path, animations="disabled")


def main(folder: Path) -> None:
    """Fill ``folder`` with the pictures."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("This needs Chromium: install it, or name its path in TEST_CHROMIUM.")
    with chromium_at(path) as browser:
        for size, viewport in (("phone", PHONE), ("desktop", DESKTOP)):
            for colours in ("light", "dark"):
                _fill_album(browser, folder, size, viewport, colours)


def _fill_album(browser: Browser, folder: Path, size: str, viewport: dict[str, int], colours: str) -> None:
    with tempfile.TemporaryDirectory() as instance:
        app = create_app(instance)
        with served(app) as origin:
            context = browser.new_context(viewport=viewport, color_scheme=colours)  # type: ignore[arg-type]
            Album(app, context.new_page(), origin, folder, f"{size}-{colours}").fill()
            context.close()
        sandbox = demo_of(app).sandbox
        assert sandbox
        sandbox.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots"))
