"""The pictures of the documentation, taken by Chromium: ``python -m tests.support.pictures`` fills ``docs/images``.

Pages and mails of the example application are states of the tour in ``screenshots.py``; the others are samples of the
documentation that run. It needs ``pip install pillow``, which cuts off what is empty below and keeps a picture small.
"""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from flask import Flask, send_from_directory
from flask_mail import Message, email_dispatched
from playwright.sync_api import Browser, Page

from example_app import create_app
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.samples import DOCS, sample, written_in
from tests.support.screenshots import DESKTOP, PHONE, chromium_at, demo_of, tour
from tests.support.serving import served

FOLDER = DOCS / "images"
BASE = "templates/chatbotkit_auth/base.html"
TOUR = [
    "sign-in-phone-light",
    "verify-phone-dark",
    "mail-phone-light",
    "dashboard-desktop-light",
    "account-desktop-light",
    "home-desktop-light",
    "refused-phone-light",
    "open-for-too-long-phone-light",
    "verify-outage-phone-light",
    "passkey-offer-phone-light",
]
"""The states of the tour that a page shows."""
SHOWN: dict[str, Callable[[Browser], bytes]] = {}
"""The other pictures by their names, each with what takes it."""


def shown(name: str) -> Callable[[Callable[[Browser], bytes]], Callable[[Browser], bytes]]:
    """Note a function that takes the picture of that name."""

    def note(take: Callable[[Browser], bytes]) -> Callable[[Browser], bytes]:
        SHOWN[name] = take
        return take

    return note


def names() -> set[str]:
    """Return the file names of all pictures."""
    return {f"{name}.png" for name in [*TOUR, *SHOWN]}


def _take(page: Page) -> bytes:
    return page.screenshot(full_page=True, animations="disabled", caret="hide")


@contextmanager
def _application(code: str) -> Iterator[tuple[Flask, list[Message]]]:
    """Run a sample on a sandbox, in a folder of its own; its mails are kept here."""
    mails: list[Message] = []

    def keep(_app: object, message: Message) -> None:
        mails.append(message)

    before = Path.cwd()
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox(secret="sk-test") as sandbox,  # opens nothing but this sandbox
        patch.dict(os.environ, CHATBOTKIT_API_URL=sandbox.url),
        patch.object(Flask, "default_config", {**Flask.default_config, "TESTING": True}),
        email_dispatched.connected_to(keep),
    ):
        module = sys.modules["sampled"] = ModuleType("sampled")
        os.chdir(folder)
        try:
            secrets = code.replace('"sk-…"', '"sk-test"').replace('SECRET_KEY="…"', 'SECRET_KEY="not one"')
            exec(compile(secrets, "sample", "exec"), vars(module))  # noqa: S102  # our own
            app: Flask = module.create_app() if hasattr(module, "create_app") else module.app
            yield app, mails
        finally:
            os.chdir(before)


@contextmanager
def _visit(browser: Browser, app: Flask, path: str = "/auth/sign-in", **options: Any) -> Iterator[Page]:
    with served(app) as origin:
        context = browser.new_context(base_url=origin, viewport=PHONE, **options)
        page = context.new_page()
        page.goto(path)
        yield page
        context.close()


def _sign_in(page: Page, mails: list[Message]) -> None:
    page.get_by_label("Email address").fill("ada@example.com")
    page.get_by_role("button", name="Send code").click()
    page.get_by_label("Code").wait_for()
    with page.expect_navigation():
        page.get_by_label("Code").fill(read_code(mails[-1]))


@shown("onboarding")
def _onboarding(browser: Browser) -> bytes:
    with _application(sample("run-onboarding").code) as (app, mails), _visit(browser, app) as page:
        _sign_in(page, mails)
        page.goto("/dashboard")
        page.get_by_label("Your name").fill("Ada")
        page.get_by_label("Username").fill("ada")
        return _take(page)


@shown("languages")
def _languages(browser: Browser) -> bytes:
    code = sample("run-languages").code.replace('["en", "de", "fr"]', '["en", "de", "ar"]')
    with _application(code) as (app, _), _visit(browser, app, locale="ar") as page:
        return _take(page)


def _dressed(browser: Browser, files: dict[str, str]) -> bytes:
    """Take the sign-in page of an application called Shop that has these files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_text(text, encoding="utf-8")
        code = sample("run-own-sender").code.replace("Flask(__name__)", f'Flask("Shop", root_path={folder!r})')
        with _application(code) as (app, _), _visit(browser, app) as page:
            return _take(page)


@shown("brand")
def _brand(browser: Browser) -> bytes:
    template = next(each for each in written_in("html+jinja") if each.where.startswith("pages.rst"))
    (sheet,) = (each for each in written_in("css") if "--auth-brand" in each.code)
    return _dressed(browser, {BASE: template.code, "static/brand.css": sheet.code})


@shown("own-layout")
def _own_layout(browser: Browser) -> bytes:
    site = re.sub(r".*cdn\.jsdelivr.*\n", "", sample("layout-site").code)  # nothing is loaded from elsewhere here
    return _dressed(browser, {BASE: sample("layout-base").code, "templates/site.html": site})


@shown("spa")
def _spa(browser: Browser) -> bytes:
    with _application(sample("run-health").code) as (app, _):
        app.add_url_rule("/spa/<name>", view_func=lambda name: send_from_directory(DOCS / "spa", name))
        with _visit(browser, app, "/spa/index.html") as page:
            page.get_by_label("Email address").fill("ada@example.com")
            page.get_by_role("button", name="Send code").click()
            page.get_by_label("Code").wait_for()
            return _take(page)


def _small(picture: bytes) -> bytes:
    """Return a picture in 64 colours at most, without the empty rows at its end."""
    images: Any = import_module("PIL.Image")
    chops: Any = import_module("PIL.ImageChops")
    image = images.open(io.BytesIO(picture)).convert("RGB")
    plain = images.new("RGB", image.size, image.getpixel((0, image.height - 1)))
    box = chops.difference(image, plain).getbbox()
    image = image.crop((0, 0, image.width, min(image.height, box[3] + 24)))
    out = io.BytesIO()
    image.quantize(64).save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Take all of them, or those whose names begin with what the command line says."""
    path = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("This needs Chromium: install it, or name its path in TEST_CHROMIUM.")
    wanted = tuple(sys.argv[1:]) or ("",)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with chromium_at(path) as browser:
        for name, take in SHOWN.items():
            if name.startswith(wanted):
                _keep(name, take(browser))
        for ending in sorted({"-".join(name.rsplit("-", 2)[1:]) for name in TOUR if name.startswith(wanted)}):
            _tour(browser, ending, wanted)


def _tour(browser: Browser, ending: str, wanted: tuple[str, ...]) -> None:
    size, colours = ending.split("-")
    with tempfile.TemporaryDirectory() as instance:
        app = create_app(instance, DEMO=True)
        with served(app, host="localhost") as origin:  # where the demo takes passkeys
            viewport = PHONE if size == "phone" else DESKTOP
            context = browser.new_context(viewport=viewport, color_scheme=colours)  # type: ignore[arg-type]
            page = context.new_page()
            for state in tour(app, page, origin):
                name = f"{state}-{ending}"
                if name in TOUR and name.startswith(wanted):
                    _keep(name, _take(page))
            context.close()
        sandbox = demo_of(app).sandbox
        assert sandbox
        sandbox.stop()


def _keep(name: str, picture: bytes) -> None:
    (FOLDER / f"{name}.png").write_bytes(_small(picture))


if __name__ == "__main__":
    main()
