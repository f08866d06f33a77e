"""Every page and mail in every state: for screen readers, small screens, large letters, and eyes that dislike motion."""

from __future__ import annotations

import gc
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from flask import Flask, Response, template_rendered
from jinja2 import Template
from playwright.sync_api import Browser, Page, ViewportSize

import flask_chatbotkit_auth
from example_app import create_app
from tests.support.screenshots import DESKTOP, PHONE, demo_of, tour
from tests.support.serving import served

SMALL_PHONE: ViewportSize = {"width": 320, "height": 480}
DESKTOP_AT_TWICE_THE_SIZE: ViewportSize = {"width": DESKTOP["width"] // 2, "height": DESKTOP["height"] // 2}
PAGES = {
    f"chatbotkit_auth/{path.name}"
    for path in (Path(flask_chatbotkit_auth.__file__).parent / "templates" / "chatbotkit_auth").glob("[!_]*.html")
} - {"chatbotkit_auth/base.html", "chatbotkit_auth/layout.html"}
STATES = 31
"""How many states the tour has, at least: a tour that breaks off early must not pass."""

# A mail is read inside the page of its reader's client, which has the landmarks.
AXE = """mail => axe.run(document, {iframes: false, rules: {
  "target-size": {enabled: true}, "landmark-one-main": {enabled: !mail}, "region": {enabled: !mail},
}}).then(found => found.violations)"""

COUNT_SHIFTS = """
window.shifts = 0;
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) shifts += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""

# Two frames, or a moment where the browser shows none of the page yet.
SHOWN = "new Promise(done => { requestAnimationFrame(() => requestAnimationFrame(done)); setTimeout(done, 100); })"

# What is cut off, and what sticks out at the side. What only screen readers are to find is clipped on purpose.
CUT_OFF = """() => {
  const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth ? ["the page scrolls"] : [];
  for (const each of document.body.querySelectorAll("*")) {
    const style = getComputedStyle(each), box = each.getBoundingClientRect();
    if (style.clipPath !== "none" || style.display === "inline" || !box.width || each.closest("svg")) continue;
    const hides = style.overflowX !== "visible" && each.scrollWidth > each.clientWidth + 1;
    if (hides || box.right > innerWidth + 1 || box.left < -1) wide.push(each.outerHTML.slice(0, 120));
  }
  return wide;
}"""

# The words that go on in the next line. An address, a name or a number has no other place to break at.
BROKEN = """() => {
  const broken = [], page = document.querySelector(".auth-page") ?? document.head;
  const walker = document.createTreeWalker(page, NodeFilter.SHOW_TEXT);
  for (let text; text = walker.nextNode();) {
    if (text.parentElement.closest("bdi, [translate=no]")) continue;
    for (const word of text.textContent.matchAll(/[^\\s-]+/g)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(each => each.top)).size > 1) broken.push(word[0]);
    }
  }
  return broken;
}"""

EDGES = {".auth-button": 1, '.auth-input[aria-invalid="true"]': 2}
EDGE = "each => parseFloat(getComputedStyle(each).borderBlockEndWidth)"

# A browser that leaves a page breaks off what it was loading; the server then drops the file it was sending, unclosed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture
def site(tmp_path: Path, bare_environment: None) -> Iterator[tuple[Flask, str]]:
    # Where passkeys work, so that their buttons are there.
    app = create_app(str(tmp_path), DEMO=True, CHATBOTKIT_AUTH_ORIGIN="http://localhost", CHATBOTKIT_AUTH_PASSKEYS=True)
    with served(app, host="localhost") as origin:
        yield app, origin
    sandbox = demo_of(app).sandbox
    assert sandbox
    sandbox.stop()
    gc.collect()


def visited(browser: Browser, site: tuple[Flask, str], **options: Any) -> Iterator[tuple[str, Page]]:
    """Go through the tour, and give each state's name and page."""
    context = browser.new_context(**options)
    context.add_init_script(COUNT_SHIFTS)
    page = context.new_page()
    names = []
    rendered: set[str | None] = set()

    def note(_app: Flask, template: Template, context: object) -> None:
        rendered.add(template.name)

    with template_rendered.connected_to(note):
        for name in tour(site[0], page, site[1]):
            names.append(name)
            yield name, page
    context.close()
    assert len(set(names)) == len(names) >= STATES
    # A page that is new belongs into the tour.
    assert PAGES - rendered == set()


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_nothing_on_any_page_in_any_state(
    browser: Browser, site: tuple[Flask, str], size: ViewportSize, capsys: pytest.CaptureFixture[str]
) -> None:
    checked = 0
    for name, page in visited(browser, site, viewport=size, reduced_motion="reduce"):
        if name.startswith("mail"):
            # Mails may run nothing, so axe could not either: it reads a copy of them.
            mail, page = page, page.context.new_page()
            page.set_content(mail.content())
        page.evaluate(AXE_SCRIPT)
        for colours in ("light", "dark"):
            page.emulate_media(color_scheme=colours)
            found = page.evaluate(AXE, name.startswith("mail"))
            assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == [], (name, colours)
            checked += 1
        if name.startswith("mail"):
            page.close()
    with capsys.disabled():
        print(f"\naxe-core found nothing on {checked} renderings, {size['width']} pixels wide")  # noqa: T201


def test_nothing_moves_is_cut_off_or_lives_by_its_colour(browser: Browser, site: tuple[Flask, str]) -> None:
    for name, page in visited(browser, site, viewport=DESKTOP, reduced_motion="reduce"):
        assert page.evaluate("window.shifts") == 0, f"{name}: the layout shifts"
        assert page.evaluate("document.getAnimations().length") == 0, f"{name}: something moves"
        for size in (SMALL_PHONE, DESKTOP_AT_TWICE_THE_SIZE):
            page.set_viewport_size(size)
            assert page.evaluate(CUT_OFF) == [], f"{name}, {size['width']} pixels wide"
        page.set_viewport_size(DESKTOP)
        # With the colours of the reader's own choice, what we say by colours alone would be lost.
        page.emulate_media(forced_colors="active")
        for selector, edge in EDGES.items():
            for found in page.locator(selector).all():
                assert found.evaluate(EDGE) >= edge, f"{name}: {selector} has no edge"
        page.emulate_media(forced_colors="none")


def test_letters_of_twice_the_size_break_no_word_on_a_phone(browser: Browser, site: tuple[Flask, str]) -> None:
    for name, page in visited(browser, site, viewport=PHONE, reduced_motion="reduce"):
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        assert page.evaluate(BROKEN) == [], name
        if page.locator(".auth-page").count():
            # A field scrolls.
            assert [each for each in page.evaluate(CUT_OFF) if not each.startswith("<input")] == [], name


@pytest.mark.parametrize("path", ["/", "/auth/sign-in"])
def test_nothing_moves_while_a_page_arrives_in_pieces(browser: Browser, site: tuple[Flask, str], path: str) -> None:
    app, origin = site
    pieces: list[str] = []
    seen = threading.Semaphore(0)

    def one_by_one() -> Iterator[str]:
        for piece in pieces:
            yield piece
            seen.acquire(timeout=30)

    @app.after_request
    def in_pieces(response: Response) -> Response:
        if response.mimetype == "text/html":
            head, body, rest = response.get_data(as_text=True).partition("<body")
            # Each begins with the tag of an element: the first one with that of the body.
            _, first, *others = re.split("(?=<[a-z])", body + rest)
            pieces[:] = [head + first, *others]
            response.response = one_by_one()
            del response.headers["Content-Length"]
        return response

    context = browser.new_context(viewport=DESKTOP, reduced_motion="reduce")
    context.add_init_script(COUNT_SHIFTS)
    page = context.new_page()
    page.goto(origin + path, wait_until="commit")
    assert len(pieces) > 10
    for number in range(len(pieces)):
        page.locator("body, body *").nth(number).wait_for(state="attached")
        page.evaluate(SHOWN)
        seen.release()
    page.wait_for_load_state()
    page.evaluate(SHOWN)
    assert page.evaluate("window.shifts") == 0
    context.close()


def test_nothing_moves_as_the_seconds_until_another_code_pass(browser: Browser, site: tuple[Flask, str]) -> None:
    context = browser.new_context(viewport={"width": SMALL_PHONE["width"], "height": DESKTOP["height"]})
    context.add_init_script(COUNT_SHIFTS)
    page = context.new_page()
    page.goto(f"{site[1]}/auth/sign-in")
    page.get_by_label("Email address").fill("ada@example.com")
    page.get_by_role("button", name="Send code").click()
    page.get_by_text("You can send a new code in").wait_for()
    page.evaluate(SHOWN)
    page.evaluate("() => { const later = Date.now() + 60000; Date.now = () => later; }")
    page.get_by_text("You can send a new code now").wait_for()
    page.evaluate(SHOWN)
    assert page.evaluate("window.shifts") == 0
    context.close()
