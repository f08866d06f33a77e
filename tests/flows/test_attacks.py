"""Every attack that SECURITY.md names, from outside: over HTTP, against four worker processes, with the default limits.

Each browser here is a client with an address of its own on the loopback network, so that the limits need no loosening.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from flask import Flask

from flask_chatbotkit_auth import ChatBotKitAuth
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.corpus import (
    FOREIGN_TARGETS,
    NO_CODE,
    NOT_A_CODE,
    NOT_AN_OBJECT,
    NOT_ONE_ADDRESS,
    ODD_BUT_LOCAL,
    SAME_ADDRESS,
)
from tests.support.servers import Browser, Mailbox, error, gunicorn, mailbox, new_client_address, raw, status_of

KEY = "the key of the shop under attack"

_people = itertools.count()


@dataclass
class Shop:
    """A site, its mail server and its API."""

    origin: str
    mailbox: Mailbox
    sandbox: Sandbox
    log: Path

    @property
    def host(self) -> str:
        return self.origin.removeprefix("http://")

    def browser(self, address: str | None = None) -> Browser:
        return Browser(self.origin, address)

    def code(self, email: str) -> str:
        """Return the newest code that was sent to an address."""
        return self.mailbox.codes(email)[-1]

    def sign_in(self, browser: Browser, email: str) -> requests.Response:
        assert browser.ask(email).status_code == 200
        answer = browser.verify(self.code(email))
        assert answer.status_code == 200, answer.text
        return answer


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Sandbox, Mailbox]]:
    with Sandbox(secret="sk-test") as sandbox, mailbox() as box:
        yield sandbox, box


def _environment(sandbox: Sandbox, box: Mailbox) -> dict[str, str]:
    return {
        "FLASK_SECRET_KEY": KEY,
        "FLASK_MAIL_SERVER": "127.0.0.1",
        "FLASK_MAIL_PORT": str(box.port),
        "CHATBOTKIT_API_SECRET": "sk-test",
        "CHATBOTKIT_API_URL": sandbox.url,
        "CHATBOTKIT_API_RETRIES": "0",
        "CHATBOTKIT_AUTH_AUTO_CREATE": "true",
        "CHATBOTKIT_AUTH_AUTO_DELETE": "true",
        # A session that has ended is to be dead at once on all workers.
        "CHATBOTKIT_AUTH_SESSION_CHECK": "0",
    }


@pytest.fixture(scope="module")
def shop(world: tuple[Sandbox, Mailbox], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    sandbox, box = world
    instance = tmp_path_factory.mktemp("shop")
    with gunicorn(instance, _environment(sandbox, box)) as origin:
        yield Shop(origin, box, sandbox, instance / "gunicorn.log")
    # Whatever was thrown at it: no page was a traceback, and no worker died.
    log = (instance / "gunicorn.log").read_text()
    assert "Traceback" not in log, log[-4000:]
    assert log.count("Booting worker") == 4


@pytest.fixture(scope="module")
def vault(world: tuple[Sandbox, Mailbox], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The same shop with server-side sessions."""
    sandbox, box = world
    instance = tmp_path_factory.mktemp("vault")
    with gunicorn(instance, {**_environment(sandbox, box), "FLASK_SERVER_SIDE_SESSIONS": "true"}) as origin:
        yield Shop(origin, box, sandbox, instance / "gunicorn.log")


@pytest.fixture
def ada() -> str:
    """The victim's address, which no other test knows."""
    return f"ada{next(_people)}@example.com"


@pytest.fixture
def eve() -> str:
    """The attacker's own."""
    return f"eve{next(_people)}@example.com"


@pytest.fixture
def victim(shop: Shop) -> Iterator[Browser]:
    with shop.browser() as browser:
        yield browser


@pytest.fixture
def attacker(shop: Shop) -> Iterator[Browser]:
    with shop.browser() as browser:
        yield browser


# Codes


def test_another_persons_code_does_not_open_my_address(shop: Shop, attacker: Browser, ada: str, eve: str) -> None:
    attacker.ask(eve)
    own = shop.code(eve)
    attacker.ask(ada)
    assert error(attacker.verify(own)) == (400, "invalid_code")
    assert attacker.email is None


def test_a_code_opens_nothing_in_another_browser(shop: Shop, victim: Browser, attacker: Browser, ada: str) -> None:
    victim.ask(ada)
    code = shop.code(ada)
    assert error(attacker.verify(code)) == (400, "no_challenge")
    attacker.ask(ada)
    assert error(attacker.verify(code)) == (400, "invalid_code")
    assert victim.verify(code).status_code == 200


def test_a_code_works_once(shop: Shop, victim: Browser, attacker: Browser, ada: str) -> None:
    victim.ask(ada)
    attacker.cookies = victim.cookies
    code = shop.code(ada)
    assert victim.verify(code).status_code == 200
    assert error(attacker.verify(code)) == (400, "no_challenge")
    assert error(attacker.verify("")) == (400, "no_challenge")
    assert attacker.email is None
    assert victim.email == ada


def test_a_cookie_is_dead_after_signing_out(shop: Shop, victim: Browser, attacker: Browser, ada: str) -> None:
    shop.sign_in(victim, ada)
    stolen = victim.cookies
    assert victim.post("/auth/sign-out", {}).status_code == 200
    for cookies in (stolen, {"remember_token": stolen["remember_token"]}, {"session": stolen["session"]}):
        for _ in range(4):  # for each of the workers
            attacker.cookies = cookies
            assert attacker.get("/dashboard").status_code == 302


def test_a_pending_completion_is_of_one_browser_and_once(
    shop: Shop, victim: Browser, attacker: Browser, ada: str
) -> None:
    victim.ask(ada)
    code = shop.code(ada)
    shop.sandbox.fail("*/user/list", status=503)
    try:
        assert error(victim.verify(code)) == (503, "upstream_unavailable")
    finally:
        shop.sandbox.heal()
    assert error(attacker.verify(code)) == (400, "no_challenge")
    attacker.ask(ada)
    assert error(attacker.verify(code)) == (400, "invalid_code")
    assert error(attacker.verify("")) == (400, "invalid_code")
    pending = victim.cookies
    assert victim.verify("").status_code == 200
    attacker.cookies = pending
    assert error(attacker.verify("")) == (400, "no_challenge")
    assert attacker.email is None


@pytest.mark.parametrize("kind", ["shop", "vault"])
def test_who_planted_the_cookie_does_not_come_in_with_the_victims_code(
    request: pytest.FixtureRequest, kind: str, ada: str
) -> None:
    # Asked for in the victim's name, then put into the victim's browser, as whoever serves a neighbouring name can. The
    # victim types the code there; until the API has answered it is proved but not used up, and the attacker is waiting.
    site: Shop = request.getfixturevalue(kind)
    with site.browser() as attacker, site.browser() as victim:
        attacker.ask(ada)
        victim.cookies = attacker.cookies
        site.sandbox.fail("*/user/list", status=503)
        try:
            assert error(victim.verify(site.code(ada))) == (503, "upstream_unavailable")
        finally:
            site.sandbox.heal()
        for typed in ("", "wrong", *(f"aaaaa{each}" for each in range(4))):
            assert error(attacker.verify(typed)) == (400, "no_challenge")
        # Not even the right one opens anything after so many guesses.
        assert error(attacker.verify(site.code(ada))) == (400, "no_challenge")
        assert error(attacker.post("/auth/resend", {})) == (400, "no_challenge")
        assert attacker.email is None
        assert victim.verify("").status_code == 200
        assert victim.email == ada


def test_a_code_asked_for_to_delete_signs_nobody_in(shop: Shop, victim: Browser, ada: str) -> None:
    shop.sign_in(victim, ada)
    victim.ask(ada)
    to_sign_in = shop.code(ada)
    assert victim.post("/auth/account/delete/code", {}).status_code == 200
    to_delete = shop.code(ada)
    assert to_delete != to_sign_in
    assert error(victim.verify(to_delete)) == (400, "no_challenge")
    refused = victim.post("/auth/account/delete", {"code": to_sign_in, "confirm": ada})
    assert error(refused) == (400, "invalid_code")
    assert victim.email == ada


@pytest.mark.parametrize("typed", NOT_A_CODE, ids=lambda typed: ascii(typed)[:20])
def test_an_absurd_code_is_a_wrong_one(shop: Shop, attacker: Browser, ada: str, typed: object) -> None:
    attacker.ask(ada)
    answer = attacker.verify(typed)
    assert error(answer) == (400, "invalid_code")
    # Of the wrong length, mostly, and then it costs no try.
    assert answer.json()["error"]["attempts_left"] in (4, 5)


def test_what_is_no_code_costs_no_try(shop: Shop, victim: Browser, ada: str) -> None:
    victim.ask(ada)
    for typed in NO_CODE:
        answer = victim.verify(typed)
        assert error(answer) == (400, "invalid_code")
        assert answer.json()["error"]["attempts_left"] == 5
    assert victim.verify(shop.code(ada)).status_code == 200


def test_a_code_is_understood_in_the_digits_of_every_script(shop: Shop, victim: Browser, ada: str) -> None:
    victim.ask(ada)
    foreign = shop.code(ada).translate({ord(str(digit)): chr(0x0660 + digit) for digit in range(10)})
    assert victim.verify(foreign).status_code == 200


# Brute force


def _wrong(browser: Browser, times: int) -> int:
    """Type so many wrong codes; return how many were compared."""
    answers = [error(browser.verify("zzzzzz"))[1] for _ in range(times)]
    assert set(answers) <= {"invalid_code", "rate_limited", "too_many_attempts"}
    return answers.count("invalid_code")


def test_an_address_is_guessed_at_twenty_times_an_hour_from_wherever(shop: Shop, ada: str) -> None:
    browsers = [shop.browser() for _ in range(7)]
    asked = [browser.ask(ada).status_code for browser in browsers]
    assert asked == [200] * 5 + [429] * 2
    with ThreadPoolExecutor(5) as pool:
        compared = list(pool.map(lambda browser: _wrong(browser, 6), browsers[:5]))
    assert sum(compared) == 20
    assert max(compared) <= 5
    for browser in browsers:
        browser.session.close()


def test_one_client_guesses_a_hundred_times_an_hour_at_all_addresses(shop: Shop) -> None:
    address = new_client_address()
    lies = (
        {name: f"10.{number}.0.1"} for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded") for number in range(99)
    )
    compared, sent = 0, 0
    with shop.browser(address) as browser:
        for number in range(32):
            browser.session.headers.update(next(lies))
            sent += browser.ask(f"target{number}@example.com").status_code == 200
            compared += _wrong(browser, 4)
    assert sent == 30
    assert compared == 100


def test_who_is_guessed_at_stays_signed_in(shop: Shop, victim: Browser, attacker: Browser, ada: str) -> None:
    shop.sign_in(victim, ada)
    for _ in range(4):
        attacker.ask(ada)
        _wrong(attacker, 5)
    assert error(attacker.ask(ada)) == (429, "rate_limited")
    assert victim.get("/dashboard").status_code == 200


def test_a_hundred_wrong_codes_at_once_are_five(shop: Shop, attacker: Browser, ada: str) -> None:
    attacker.ask(ada)
    token, cookies = attacker.token(), attacker.cookies
    barrier = threading.Barrier(20)

    def guess(_: int) -> int:
        with shop.browser() as twin:
            twin.cookies = cookies
            barrier.wait()
            answers = [
                twin.send("POST", "/auth/verify", json={"code": "zzzzzz"}, headers={"X-CSRFToken": token})
                for _ in range(5)
            ]
            return sum(error(answer) == (400, "invalid_code") for answer in answers)

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(guess, range(20))) == 5


# Redirects


@pytest.mark.parametrize("target", FOREIGN_TARGETS, ids=lambda target: ascii(target)[:40])
def test_next_leads_to_this_host_alone(shop: Shop, victim: Browser, ada: str, target: str) -> None:
    target = target.format(host=shop.host) if "{host}" in target else target
    victim.get("/auth/sign-in", params={"next": target})
    victim.ask(ada, next=target)
    token = victim.token()
    answer = victim.send("POST", "/auth/verify", data={"code": shop.code(ada), "csrf_token": token})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert len(answer.raw.headers.getlist("Location")) == 1
    assert victim.get("/auth/sign-in", params={"next": target}).headers["Location"] == "/"


@pytest.mark.parametrize("target", ODD_BUT_LOCAL, ids=ascii)
def test_an_odd_path_is_still_a_path_here(shop: Shop, victim: Browser, ada: str, target: str) -> None:
    victim.ask(ada, next=target)
    answer = victim.send("POST", "/auth/verify", data={"code": shop.code(ada), "csrf_token": victim.token()})
    assert answer.status_code == 303
    reached = urlsplit(urljoin(f"{shop.origin}/auth/verify", answer.headers["Location"].replace("\\", "/")))
    assert reached.netloc == shop.host


def test_half_a_character_in_next_burns_no_code(shop: Shop, victim: Browser, ada: str) -> None:
    # JSON can name what no header can hold: the redirect failed after the code was used up.
    victim.ask(ada, next="/\ud800")
    answer = victim.send("POST", "/auth/verify", data={"code": shop.code(ada), "csrf_token": victim.token()})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert victim.email == ada


# Forged requests


def _posts() -> list[str]:
    """Return every path of ours that takes a POST, read off the application, so that a new one is not forgotten."""
    app = Flask("shop")
    app.config.update(SECRET_KEY="x", CHATBOTKIT_API_SECRET="sk-test", CHATBOTKIT_AUTH_STORE_URL="memory://")
    ChatBotKitAuth(app)
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("chatbotkit_auth.")]
    return sorted(re.sub("<.*?>", "x", rule.rule) for rule in rules if "POST" in (rule.methods or ()))


POSTS = _posts()


def test_the_posts_are_all_there() -> None:
    assert {"/auth/sign-in", "/auth/verify", "/auth/resend", "/auth/sign-out", "/auth/account/delete"} <= set(POSTS)


@pytest.mark.parametrize("path", POSTS)
def test_a_forged_post_changes_nothing(shop: Shop, victim: Browser, attacker: Browser, ada: str, path: str) -> None:
    shop.sign_in(victim, ada)
    before = victim.get("/auth/account", headers={"Accept": "application/json"}).json()
    mails = len(shop.mailbox.to(ada))
    fields = {"email": ada, "code": "3f9a2c", "name": "Eve", "confirm": ada, "next": "/"}
    foreign = attacker.token()
    text = {"Content-Type": "text/plain"}
    forged = [
        victim.send("POST", path, data=fields),
        victim.send("POST", path, data={**fields, "csrf_token": ""}),
        victim.send("POST", path, data={**fields, "csrf_token": foreign}),
        victim.send("POST", path, json=fields),
        victim.send("POST", path, json={**fields, "csrf_token": foreign}),
        victim.send("POST", path, json=fields, headers={"X-CSRFToken": foreign}),
        # What a form on another site can send without asking first.
        victim.send("POST", path, data=json.dumps(fields), headers=text),
        victim.send("POST", path, data=json.dumps({**fields, "csrf_token": foreign}), headers=text),
        victim.send("POST", path, files={name: (None, value) for name, value in fields.items()}),
    ]
    assert [answer.status_code for answer in forged] == [403] * len(forged)
    # No other method does what a POST does.
    for method in ("PUT", "PATCH", "DELETE"):
        assert victim.send(method, path, data=fields).status_code == 405
    override = {"X-HTTP-Method-Override": "POST", "X-Method-Override": "POST", "X-HTTP-Method": "POST"}
    assert victim.get(path, params={**fields, "_method": "POST"}, headers=override).status_code in (200, 302, 405)
    assert victim.email == ada
    assert len(shop.mailbox.to(ada)) == mails
    after = victim.get("/auth/account", headers={"Accept": "application/json"}).json()
    assert after["user"] == before["user"]
    assert len(after["sessions"]) == len(before["sessions"])


def test_nobody_can_be_signed_in_as_the_attacker(shop: Shop, victim: Browser, attacker: Browser, eve: str) -> None:
    attacker.ask(eve)
    code = shop.code(eve)
    foreign = attacker.token()
    victim.get("/auth/sign-in")
    for fields in ({}, {"csrf_token": foreign}):
        assert victim.send("POST", "/auth/verify", data={"code": code, **fields}).status_code == 403
        assert (
            victim.send("POST", "/auth/verify", json={"code": code}, headers={"X-CSRFToken": foreign}).status_code
            == 403
        )
    # Even with a token of the victim's own there is no challenge of the attacker's to open.
    assert error(victim.verify(code)) == (400, "no_challenge")
    assert victim.email is None


def test_no_other_site_reads_the_token(shop: Shop, victim: Browser) -> None:
    for method in ("GET", "OPTIONS"):
        answer = victim.send(method, "/auth/session", headers={"Origin": "http://evil.example"})
        assert not any(name.lower().startswith("access-control-") for name in answer.headers)


# Sessions


@pytest.mark.parametrize("kind", ["shop", "vault"])
def test_a_planted_session_is_not_the_one_that_is_signed_in(
    request: pytest.FixtureRequest, kind: str, ada: str
) -> None:
    site: Shop = request.getfixturevalue(kind)
    with site.browser() as attacker, site.browser() as victim:
        attacker.get("/basket", params={"item": "planted"})
        assert "session" in attacker.cookies
        victim.cookies = attacker.cookies
        site.sign_in(victim, ada)
        assert victim.cookies["session"] != attacker.cookies["session"]
        assert attacker.email is None
        assert attacker.get("/dashboard").status_code == 302
        assert victim.get("/dashboard").text == f"Hello {ada}"


def test_a_server_side_session_is_dead_after_signing_out(vault: Shop, ada: str) -> None:
    with vault.browser() as victim, vault.browser() as attacker:
        vault.sign_in(victim, ada)
        attacker.cookies = victim.cookies
        assert attacker.email == ada, "whoever has the cookies is the person: this is what signing out must end"
        victim.post("/auth/sign-out", {})
        attacker.cookies = attacker.cookies
        assert attacker.get("/dashboard").status_code == 302


@pytest.mark.parametrize(
    "cookies",
    [
        {"remember_token": "cbk-" + "0" * 32},
        {"remember_token": "cbk-" + "0" * 32 + "|" + "0" * 128},
        {"remember_token": "|"},
        {"remember_token": "a|b|c"},
        {"remember_token": "1|é".encode().decode("latin-1")},
        {"remember_token": '"1|\\351"'},
        {"remember_token": "x" * 3000},
        {"session": "x" * 3000},
        {"session": "e30.x.y"},
        {"session": "...."},
        {"session": "é".encode().decode("latin-1")},
        {"session": ".eJwrSS0uAQAEXQHB.x.y"},
        {"session": "", "remember_token": ""},
    ],
    ids=ascii,
)
def test_a_forged_cookie_is_no_cookie(shop: Shop, cookies: dict[str, str]) -> None:
    line = "; ".join(f"{name}={value}" for name, value in cookies.items())
    for path, status in (("/dashboard", 302), ("/auth/session", 200), ("/auth/verify", 302), ("/", 200)):
        head = f"GET {path} HTTP/1.1\r\nHost: shop\r\nCookie: {line}\r\nConnection: close\r\n\r\n"
        assert status_of(raw(shop.origin, head.encode("latin-1"))) == status, path


# Addresses


@pytest.mark.parametrize("typed", NOT_ONE_ADDRESS, ids=lambda typed: ascii(typed)[:40])
def test_what_is_not_one_address_gets_no_mail(shop: Shop, attacker: Browser, typed: object) -> None:
    before = len(shop.mailbox.recipients)
    answer = attacker.ask(typed)
    assert error(answer) == (400, "invalid_email")
    if isinstance(typed, str) and "\ud800" not in typed and "\udfff" not in typed:
        page = attacker.send("POST", "/auth/sign-in", data={"email": typed, "csrf_token": attacker.token()})
        assert page.status_code == 400
        assert "<script>" not in page.text
    assert len(shop.mailbox.recipients) == before


@pytest.mark.parametrize("spelling", SAME_ADDRESS)
def test_a_look_alike_leads_to_the_one_address_that_gets_the_mail(
    shop: Shop, victim: Browser, ada: str, spelling: str
) -> None:
    wide = "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in ada)
    assert victim.ask(spelling.format(ada, ada.upper(), wide)).status_code == 200
    assert victim.verify(shop.code(ada)).json()["user"]["email"] == ada


def test_the_kelvin_sign_gets_no_mail_for_somebody_else(shop: Shop, attacker: Browser) -> None:
    # Case folding makes a k of it. The mail goes to the k that is signed in, never to what was typed.
    attacker.ask("mar\u212a@example.com")
    assert shop.mailbox.recipients[-1] == "mark@example.com"


@pytest.mark.parametrize("body", NOT_AN_OBJECT, ids=lambda body: repr(body[:12]))
@pytest.mark.parametrize(("path", "code"), [("/auth/sign-in", "invalid_email"), ("/auth/verify", "invalid_code")])
def test_a_body_that_is_no_object_says_nothing(
    shop: Shop, attacker: Browser, ada: str, body: bytes, path: str, code: str
) -> None:
    if path == "/auth/verify":
        attacker.ask(ada)
    headers = {"Content-Type": "application/json", "X-CSRFToken": attacker.token()}
    assert error(attacker.send("POST", path, data=body, headers=headers)) == (400, code)


_MANY = b"".join(b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n\r\n' % number for number in range(900))


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/x-www-form-urlencoded", b"email={ada}&email={eve}", 303),
        ("application/x-www-form-urlencoded; charset=utf-7", b"email={ada}", 303),
        ("application/x-www-form-urlencoded; charset=no-such", b"email={ada}", 303),
        ("application/x-www-form-urlencoded", b"email=%ff%fe&email={eve}", 400),
        ("application/x-www-form-urlencoded", b"email[]={eve}&email[0]={eve}", 400),
        ("application/x-www-form-urlencoded", b"email={ada}%0a{eve}", 400),
        ("application/x-www-form-urlencoded", b"x=&" * 20_000 + b"email={ada}", 303),
        ("application/json", b'{"email": "{eve}", "email": "{ada}"}', 200),
        ("application/json", b'{"email": ["{eve}"], "Email": "{eve}"}', 400),
        ("application/json; charset=utf-16", '{"email": "no address"}'.encode("utf-16"), 400),
        ("application/vnd.x+json", b'{"email": "{ada}"}', 200),
        ("multipart/form-data", b"email={eve}", 400),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="email"\r\n\r\n{ada}\r\n--x--',
            303,
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data", 400),
        ("multipart/form-data; boundary=x", _MANY + b"--x--", 400),
        ("multipart/form-data; boundary=x", _MANY + _MANY, 413),
        ("text/plain", b"email={eve}", 400),
        ("", b"email={eve}", 400),
    ],
    ids=lambda value: ascii(value)[:60] if not isinstance(value, int) else str(value),
)
def test_however_an_address_is_sent_one_person_gets_a_mail_or_nobody(
    shop: Shop, attacker: Browser, ada: str, eve: str, content_type: str, body: bytes, status: int
) -> None:
    before = len(shop.mailbox.recipients)
    sent = body.replace(b"{ada}", ada.encode()).replace(b"{eve}", eve.encode())
    headers = {"Content-Type": content_type, "X-CSRFToken": attacker.token()}
    assert attacker.send("POST", "/auth/sign-in", data=sent, headers=headers).status_code == status
    expected = status in (200, 303)
    assert len(shop.mailbox.to(ada)) == expected
    assert len(shop.mailbox.recipients) == before + expected


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_a_request_without_a_host_is_answered(shop: Shop, version: bytes) -> None:
    for path in (b"/auth/sign-in?next=//evil.example", b"/auth/verify", b"/auth/account", b"/dashboard"):
        answer = raw(shop.origin, b"GET " + path + b" " + version + b"\r\nConnection: close\r\n\r\n")
        assert status_of(answer) in (200, 302)
        assert b"ocation: http" not in answer


# Mail scanners


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_mail_scanner_uses_nothing_up(shop: Shop, victim: Browser, attacker: Browser, ada: str, method: str) -> None:
    victim.ask(ada)
    code = shop.code(ada)
    for path in POSTS:
        for browser in (attacker, victim):  # from elsewhere, and in the person's own browser
            answer = browser.send(method, path, params={"code": code, "email": ada, "confirm": ada})
            assert answer.status_code in (200, 302, 303, 405)
    assert len(shop.mailbox.to(ada)) == 1
    assert victim.verify(code).status_code == 200
    assert victim.email == ada


# Headers


def test_every_answer_is_framed_cached_and_scripted_by_nobody(shop: Shop, victim: Browser, ada: str) -> None:
    anonymous = [victim.get(f"/auth/{name}") for name in ("sign-in", "sign-out", "verify", "session", "account")]
    token = victim.token()
    html = {"csrf_token": token}
    flow = [
        victim.send("POST", "/auth/sign-in", data={}),
        victim.send("POST", "/auth/sign-in", data={**html, "email": "no"}),
        victim.send("POST", "/auth/sign-in", data={**html, "email": ada}),
        victim.get("/auth/verify"),
        victim.send("POST", "/auth/resend", data=html),
        victim.send("POST", "/auth/verify", data={**html, "code": "zzzzzz"}),
        victim.send("POST", "/auth/verify", data={**html, "code": shop.code(ada)}),
        victim.get("/auth/account"),
        victim.get("/auth/account/delete"),
        victim.get("/auth/sign-out"),
        victim.send("OPTIONS", "/auth/verify"),
        victim.send("HEAD", "/auth/sign-in"),
        victim.send("POST", "/auth/sign-in", data="x" * 70_000),
        victim.post("/auth/sign-in", {"email": "no"}),
        victim.post("/auth/account/sessions/x/end", {}),
    ]
    assert {answer.status_code for answer in flow} >= {200, 303, 400, 403, 404, 413, 429}
    for answer in anonymous + flow:
        headers = answer.headers
        assert headers["Cache-Control"] == "no-store", answer.url
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["font-src"] == "'self'"
        assert "form-action" not in policy  # it would stop the redirect after a form, to another origin
        assert "unsafe" not in headers["Content-Security-Policy"]
        for cookie in answer.raw.headers.getlist("Set-Cookie"):
            if "Max-Age=0" not in cookie:
                assert "HttpOnly" in cookie
                assert "SameSite=Lax" in cookie


@pytest.mark.parametrize("host", ["evil.example", "evil.example:99999", "a b<script>", "\xe9", ""])
def test_a_forged_host_gets_nowhere(shop: Shop, host: str) -> None:
    for path in ("/auth/sign-in?next=http://evil.example/x", "/dashboard", "/auth/verify", "/auth/account"):
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: {host}\r\nConnection: close\r\n\r\n"
        answer = raw(shop.origin, head.encode("latin-1"))
        assert status_of(answer) in (200, 302)
        locations = re.findall(rb"(?i)^location: (.*)\r$", answer, re.MULTILINE)
        assert all(each.startswith(b"/auth/") for each in locations)
        assert b"<script>" not in answer
        assert b"http://evil" not in answer


# Sizes


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
def test_an_oversized_body_is_refused_unread(shop: Shop, path: str, content_type: str) -> None:
    # Half a gigabyte is announced and a little of it comes: who waited for it would not answer.
    head = f"POST {path} HTTP/1.1\r\nHost: shop\r\nContent-Type: {content_type}\r\nContent-Length: 500000000\r\n\r\n"
    assert status_of(raw(shop.origin, head.encode() + b"email=")) == 413


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_an_oversized_body_without_a_length_is_refused(shop: Shop, attacker: Browser, content_type: str) -> None:
    def drip() -> Iterator[bytes]:
        yield b'{"email": "' if "json" in content_type else b"email="
        for _ in range(20):
            yield b"a" * 16384

    headers = {"Content-Type": content_type, "X-CSRFToken": attacker.token()}
    assert attacker.send("POST", "/auth/sign-in", data=drip(), headers=headers).status_code == 413


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /auth/sign-in HTTP/1.1\r\nHost: shop\r\nContent-Length: -1\r\n\r\n",
        b"POST /auth/sign-in HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /auth/sign-in HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"GET /auth/session HTTP/1.1\r\nHost: shop\r\nCookie: session=" + b"a" * 9000 + b"\r\n\r\n",
        b"GET /auth/session HTTP/1.1\r\nHost: shop\r\nUser-Agent: a\0b\r\n\r\n",
        b"GET /auth/sign-in?next=" + b"/" * 9000 + b" HTTP/1.1\r\nHost: shop\r\n\r\n",
    ],
    ids=["negative", "two lengths", "endless chunk", "huge cookie", "NUL", "huge URL"],
)
def test_what_is_no_request_is_refused(shop: Shop, request_bytes: bytes) -> None:
    assert 400 <= status_of(raw(shop.origin, request_bytes)) < 500


# What a person sees who did nothing wrong


def test_who_presses_twice_is_not_told_to_start_again(shop: Shop, victim: Browser, ada: str) -> None:
    victim.ask(ada, next="/dashboard")
    form = {"code": shop.code(ada), "csrf_token": victim.token()}
    with shop.browser() as second_press:
        second_press.cookies = victim.cookies
        assert victim.send("POST", "/auth/verify", data=form).status_code == 303
        assert second_press.send("POST", "/auth/verify", data=form).headers["Location"] == "/auth/verify"
        page = second_press.get("/auth/verify")
    assert page.status_code == 400
    assert "This code has been used" in page.text
    found = re.search(r'<a class="auth-button" href="([^"]+)"', page.text)
    assert found
    assert victim.get(found.group(1)).headers["Location"] == "/dashboard"


def test_two_tabs_of_one_browser_lead_to_the_address_that_was_asked_last(
    shop: Shop, victim: Browser, ada: str, eve: str
) -> None:
    victim.ask(ada)
    victim.ask(eve)
    assert error(victim.verify(shop.code(ada))) == (400, "invalid_code")
    assert victim.verify(shop.code(eve)).json()["user"]["email"] == eve
