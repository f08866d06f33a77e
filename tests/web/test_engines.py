"""The main stories in Firefox, WebKit and Chromium, over HTTPS as well: their caches, history, forms and cookies differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from flask import Flask, Response, request
from flask_babel import Babel

from example_app import create_app
from tests.support.certificates import self_signed
from tests.support.engines import Engine, Firefox, chromium, firefox, webkit
from tests.support.screenshots import demo_of, newest_code
from tests.support.serving import served
from tests.support.steps import wrong

ADA = "ada@example.com"
HTTPS = {
    "SESSION_COOKIE_NAME": "__Host-session",
    "SESSION_COOKIE_SECURE": True,
    "REMEMBER_COOKIE_NAME": "__Host-remember",
}
# Where the lines of a word end, and where its syllables do.
BREAKS = """(() => {
  const text = document.querySelector(".auth-lead").firstChild, range = document.createRange(), tops = [];
  for (let at = 0; at < text.length; at++) {
    range.setStart(text, at);
    range.setEnd(text, at + 1);
    tops.push(range.getBoundingClientRect().top);
  }
  return JSON.stringify(tops.map((top, at) => at && top > tops[at - 1] ? at : 0).filter(Boolean));
})()"""
SYLLABLES = {2, 5, 10, 16, 22, 24, 28}
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning"
)


@pytest.fixture(scope="module", params=["firefox", "webkit", "chromium"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    find: Callable[[str], str] = request.getfixturevalue("installed")
    with ExitStack() as stack:
        if request.param == "firefox":
            browser: Engine = stack.enter_context(firefox(find("firefox-esr"), tmp_path_factory.mktemp("firefox")))
        elif request.param == "webkit":
            find("Xvfb")
            browser = stack.enter_context(webkit(find("WebKitWebDriver")))
        else:
            browser = stack.enter_context(chromium(request.getfixturevalue("browser")))
        yield browser


class Site:
    def __init__(self, app: Flask, origin: str) -> None:
        self.app, self.origin = app, origin
        self.cookies: set[str] = set()
        """The names of the cookies that came with the last request."""

    @property
    def code(self) -> str:
        return newest_code(self.app)

    @property
    def remembered(self) -> bool:
        """Whether the browser kept the cookie that outlives it; over HTTPS it took the names of :data:`HTTPS`."""
        return self.app.config.get("REMEMBER_COOKIE_NAME", "remember_token") in self.cookies


@contextmanager
def example(folder: Path, certificate: tuple[Path, Path] | None = None) -> Iterator[Site]:
    app = create_app(str(folder), **(HTTPS if certificate else {}))
    with served(app, certificate) as origin:
        site = Site(app, origin)

        @app.before_request
        def note() -> None:
            site.cookies = set(request.cookies)

        yield site
    sandbox = demo_of(app).sandbox
    assert sandbox is not None
    sandbox.stop()


@pytest.fixture
def site(tmp_path: Path, bare_environment: None) -> Iterator[Site]:
    with example(tmp_path) as site:
        yield site


@pytest.fixture(params=["http", "https"])
def either_site(request: pytest.FixtureRequest, tmp_path: Path, bare_environment: None) -> Iterator[Site]:
    """A site over HTTP, and over HTTPS, where browsers keep other pages and take other cookies."""
    with example(tmp_path, self_signed(tmp_path, "127.0.0.1") if request.param == "https" else None) as site:
        yield site


def ask(engine: Engine, site: Site) -> None:
    engine.open(f"{site.origin}/auth/sign-in?next=/dashboard")
    engine.fill("email", ADA)
    engine.press("/auth/sign-in")
    engine.at("/auth/verify")


def sign_in(engine: Engine, site: Site) -> None:
    ask(engine, site)
    engine.fill("code", site.code)
    engine.press("/auth/verify")
    engine.at("/dashboard")


def loaded(engine: Engine, name: str) -> bool:
    """Return whether the page has loaded that file. Chromium lists one that it refused as well, without a status."""
    entries = "performance.getEntriesByType('resource')"
    return bool(engine.run(f"{entries}.some(each => each.name.includes('/{name}') && each.responseStatus !== 0)"))


def test_a_person_signs_in(engine: Engine, either_site: Site) -> None:
    site = either_site
    sign_in(engine, site)
    assert "Hello, Ada." in engine.run("document.body.innerText")
    assert site.app.config["SESSION_COOKIE_NAME"] in site.cookies
    assert site.remembered


def test_after_a_wrong_code_back_and_reload_try_nothing_again(engine: Engine, either_site: Site) -> None:
    site = either_site
    ask(engine, site)
    assert loaded(engine, "auth.js")
    engine.fill("code", wrong(site.code))
    engine.press("/auth/verify")
    engine.wait("document.body.innerText.includes('That code')")
    engine.reload()
    engine.wait("!document.body.innerText.includes('That code')")
    engine.at("/auth/verify")
    engine.back()
    engine.open(f"{site.origin}/auth/verify")
    engine.fill("code", site.code)
    engine.press("/auth/verify")
    engine.at("/dashboard")


def test_a_code_is_pasted_with_what_is_around_it(engine: Engine, site: Site) -> None:
    ask(engine, site)
    code = site.code
    engine.fill("code", f" {code[:3]} {code[3:]} ")
    engine.press("/auth/verify")
    engine.at("/dashboard")


def test_without_a_script_a_person_signs_in_and_out(engine: Engine, site: Site) -> None:
    site.app.after_request(without_scripts)
    sign_in(engine, site)
    engine.open(f"{site.origin}/auth/account")
    assert (loaded(engine, "auth.css"), loaded(engine, "auth.js")) == (True, False)
    engine.open(f"{site.origin}/auth/sign-out")
    engine.press("/auth/sign-out")
    engine.wait("location.pathname !== '/auth/sign-out'")
    engine.open(f"{site.origin}/auth/account")
    engine.at("/auth/sign-in")


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_page_is_shown_when_it_is_whole(engine: Engine, site: Site, scripts: bool) -> None:
    if not scripts:
        site.app.after_request(without_scripts)
    ask(engine, site)
    for path in ("/auth/verify", "/auth/sign-in", "/"):
        engine.open(site.origin + path)
        # What the page says to wait for is there, and browsers that do not know how to wait show it all the same.
        waits = "[...document.querySelectorAll('link[rel=expect]')].map(each => each.getAttribute('href')).join()"
        assert engine.run(waits) == "#auth-end"
        assert engine.run("document.querySelectorAll('#auth-end').length") == 1
        engine.wait("performance.getEntriesByName('first-contentful-paint').length === 1")


def test_a_long_word_is_hyphenated_and_an_address_is_not(engine: Engine, site: Site) -> None:
    Babel(site.app, locale_selector=lambda: "de")
    ask(engine, site)
    assert engine.run("document.documentElement.lang") == "de"
    style = "(selector => { const all = getComputedStyle(document.querySelector(selector)); return all.hyphens; })"
    assert engine.run(f"{style}('.auth-lead')") == engine.run(f"{style}('.auth-button')") == "auto"
    assert {engine.run(f"{style}('{each}')") for each in (".auth-address bdi", ".auth-name", "#code")} == {"manual"}
    if isinstance(engine, Firefox):  # which comes with the syllables of German; others load or lack them
        word = "Donaudampfschifffahrtsgesellschaft"
        engine.run(f"void (document.querySelector('.auth-lead').textContent = '{word}')")
        engine.run("void (document.querySelector('.auth-lead').style.width = '9rem')")
        breaks = set(json.loads(engine.run(BREAKS)))
        assert breaks
        assert breaks <= SYLLABLES


def without_scripts(response: Response) -> Response:
    # The page's own do not run. The driver's do, which could press no button otherwise.
    response.headers["Content-Security-Policy"] = "script-src 'none'"
    return response


def test_after_signing_out_back_shows_nothing_of_the_person(engine: Engine, either_site: Site) -> None:
    site = either_site
    sign_in(engine, site)
    engine.open(f"{site.origin}/auth/account")
    assert ADA in engine.run("document.body.innerText")
    engine.open(f"{site.origin}/auth/sign-out")
    engine.press("/auth/sign-out")
    engine.wait("location.pathname !== '/auth/sign-out'")
    engine.back()
    engine.at("/auth/sign-out")  # which a second Back would overtake
    engine.back()
    # WebKit keeps pages in spite of no-store: the script asks for them again.
    engine.wait(f"document.readyState === 'complete' && !document.body.innerText.includes('{ADA}')")
    engine.at("/auth/sign-in")
    assert not site.remembered
