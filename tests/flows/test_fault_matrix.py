"""The API as an enemy: every call of the sign-in meets every fault.

Whatever the API does, no page is a 500, nobody gets into another's account, nobody gets two, no code is used up in vain,
and the secret follows no redirect. The client alone is tested in ``test_client``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import ChatBotKitClient, ContactAdapter
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.sandbox.server import Answer, Handler
from tests.support.apps import Clock, MakeApp
from tests.support.steps import ask, error, resend, verify

ADA = "ada@example.com"
EVE = "eve@example.com"
KINDS = ("partner", "contact")
TIMEOUT = 0.3
"""Seconds that the client waits for an answer that does not end."""

SignIn = Callable[..., TestResponse]

MEGABYTES = b" " * 50_000_000

FAULTS: dict[str, dict[str, Any]] = {
    **{f"status {status}": {"status": status} for status in (400, 401, 402, 403, 404, 405, 408, 409, 413, 422)},
    **{f"status {status}": {"status": status} for status in (429, 500, 501, 502, 503, 504, 599)},
    **{
        f"{status} with Retry-After {value}": {"status": status, "headers": {"Retry-After": value}}
        for status in (429, 503)
        for value in ("1", "99999999", "-1", "Fri, 31 Dec 9999 23:59:59 GMT")
    },
    "429 for good": {"status": 429, "code": "LIMITS_REACHED"},
    **{
        f"redirect {status}": {"status": status, "headers": {"Location": "{thief}"}, "body": b"moved"}
        for status in (300, 301, 302, 303, 304, 307, 308)
    },
    "redirect without a target": {"status": 302, "body": b""},
    "nothing at all": {"body": b""},
    "204": {"status": 204, "body": b""},
    "HTML": {"body": b"<!doctype html><h1>hello</h1>"},
    "HTML 404": {"status": 404, "body": b"<!doctype html><h1>no such page</h1>"},
    "HTML 403": {"status": 403, "body": b"<html>blocked by the firewall</html>"},
    "HTML 502": {"status": 502, "body": b"<html>bad gateway</html>"},
    "half an object": {"body": b'{"items": [{"id": "x'},
    "a list": {"body": b"[]"},
    "null": {"body": b"null"},
    "a number": {"body": b"7"},
    "a text": {"body": b'"x"'},
    "not a number": {"body": b'{"items": NaN, "id": NaN}'},
    "a deep list": {"body": b"[" * 100_000},
    "a deep object": {"body": b'{"items":' * 50_000},
    "no text": {"body": b"\xff\xfe\x00"},
    "NUL": {"body": b"\x00" * 1000},
    "50 MB": {"body": MEGABYTES},
    "50 MB of an error": {"status": 500, "body": MEGABYTES},
    "an empty object": {"body": b"{}"},
    "items null": {"body": b'{"items": null, "id": null}'},
    "items an object": {"body": b'{"items": {}, "id": {}}'},
    "items numbers": {"body": b'{"items": [1, 2], "id": 7}'},
    "items lists": {"body": b'{"items": [[]], "id": []}'},
    "an item without anything": {"body": b'{"items": [{}], "id": ""}'},
    "an item without an id": {"body": b'{"items": [{"email": "ada@example.com"}], "email": "ada@example.com"}'},
    "an item of wrong types": {
        "body": b'{"items": [{"id": 7, "email": "ada@example.com", "meta": 7, "name": [], "createdAt": "x"}], "id": 7}'
    },
    "addresses of wrong types": {
        "body": b'{"items": [{"id": "x", "email": ["ada@example.com"]}, {"id": "y", "email": {"a": 1}}, '
        b'{"id": "z", "email": "\\ud800ada@example.com"}, {"id": "w", "meta": {"email": 7}}], "id": true}'
    },
    "a cursor that goes round": {"body": b'{"items": [{"id": "x", "email": "eve@example.com"}], "cursor": "c"}'},
    "a length that is too long": {"body": b"{}", "headers": {"Content-Length": "1000"}},
    "a length that is none": {"body": b"{}", "headers": {"Content-Length": "x"}},
    "a packed answer that is not packed": {"body": b"{}", "headers": {"Content-Encoding": "gzip"}},
    "a header of 70 kB": {"body": b"{}", "headers": {"X-Big": "x" * 70_000}},
    "cookies": {"status": 401, "headers": {"Set-Cookie": "session=evil; Domain=127.0.0.1"}},
    "hung up on": {"drop": True},
    "silence, then hung up on": {"drop": 0},
    "cut after a byte": {"drop": 1},
    "cut in the head": {"drop": 20},
    "cut before the end": {"drop": -1},
    **{
        f"an answer that is {stage}": {"body": b"", "headers": {"X-Stage": stage}}
        for stage in ("endless", "dripping", "endless in its head", "never begun", "not HTTP")
    },
    "somebody else": {"body": b"{eve}"},
}

HANGING = (
    "a length that is too long",
    "a length that is none",
    "an answer that is dripping",
    "an answer that is never begun",
    "an answer that is endless in its head",
)


def _drip(handler: Handler, head: bytes, piece: bytes, pause: float) -> None:
    handler.wfile.write(head)
    while not handler.server.closing.wait(pause):
        handler.wfile.write(piece)


_STAGES: dict[str, Callable[[Handler], object]] = {
    "endless": lambda to: _drip(to, b"HTTP/1.1 200 OK\r\n\r\n", b'{"items": [' + b" " * 65536, 0),
    "dripping": lambda to: _drip(to, b"HTTP/1.1 200 OK\r\n\r\n", b" ", TIMEOUT / 5),
    "endless in its head": lambda to: _drip(to, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", TIMEOUT / 50),
    "never begun": lambda to: to.server.closing.wait(),
    "not HTTP": lambda to: to.wfile.write(b"220 mail.example ESMTP\r\n"),
}


@pytest.fixture(scope="module", autouse=True)
def stages() -> Iterator[None]:
    """Let the sandbox also answer what no honest server sends, where a fault names one in ``X-Stage``."""
    write = Handler._write

    def staged(self: Handler, answer: Answer) -> None:
        stage = _STAGES.get(answer.headers.get("X-Stage", ""))
        if stage is None:
            write(self, answer)
        else:
            self.close_connection = True
            stage(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "_write", staged)
        yield


@pytest.fixture(scope="module")
def api() -> Iterator[Sandbox]:
    with Sandbox(secret="sk-test") as sandbox:
        yield sandbox


@pytest.fixture
def chatbotkit_sandbox(api: Sandbox) -> Sandbox:
    """One sandbox for all of the many tests here, as good as new in each of them."""
    api.reset()
    return api


@pytest.fixture(scope="module")
def thief() -> Iterator[Sandbox]:
    """Another host, to which an answer may point."""
    with Sandbox(secret="sk-other") as thief:
        yield thief


class Site:
    """A site with an enemy for an API, and what became of its people."""

    def __init__(self, make_app: MakeApp, clock: Clock, sandbox: Sandbox, kind: str, thief: Sandbox) -> None:
        self.clock = clock
        self.sandbox = sandbox
        self.codes: list[str] = []
        self.kind = kind
        self.thief = thief
        self.records = sandbox.users if kind == "partner" else sandbox.contacts
        self.eve = self.add(EVE)
        self._make_app = make_app

    def add(self, email: str, **fields: Any) -> dict[str, Any]:
        if self.kind == "partner":
            return self.sandbox.add_user(email, **fields)
        fingerprint = ContactAdapter(ChatBotKitClient("sk-test")).fingerprint(email)
        known = {"meta": {"email": email}, "verifiedAt": 1, "fingerprint": fingerprint}
        return self.sandbox.add_contact(email, **{**known, **fields})

    def app(self, fault: dict[str, Any] | None = None, **config: Any) -> Flask:
        """Make the application, with a client that repeats at once what it repeats, or is short of patience."""
        patience: dict[str, Any] = {"timeout": 10, "retries": 2, "sleep": lambda seconds: None}
        if fault is not None and any(fault is FAULTS[name] for name in HANGING):
            patience = {"timeout": TIMEOUT, "retries": 0}
        app = self._make_app(
            parts={"client": ChatBotKitClient("sk-test", self.sandbox.url, **patience)},
            CHATBOTKIT_AUTH_ADAPTER=self.kind,
            CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": None, "request:ip": None},
            **config,
        )
        # In place of mails, which would be composed two thousand times here.
        app.extensions["test_auth"].send_verification_request(lambda identifier, code, *_: self.codes.append(code))
        return app

    def break_down(self, call: str, fault: dict[str, Any]) -> None:
        fault = dict(fault)
        if fault.get("body") == b"{eve}":
            fault["body"] = json.dumps({**self.eve, "items": [self.eve]})
        if "headers" in fault:
            headers = fault["headers"].items()
            fault["headers"] = {name: value.replace("{thief}", self.thief.url) for name, value in headers}
        make = "*/user/create" if self.kind == "partner" else "*/contact/create"
        self.sandbox.fail({"list": "*/list", "make": make, "update": "*/update", "fetch": "*/fetch"}[call], **fault)

    @property
    def adas(self) -> list[dict[str, Any]]:
        return [record for record in self.records.values() if record.get("email") == ADA]

    def is_ada(self, client: FlaskClient) -> None:
        """Check that Ada is signed in, in the one account that is hers."""
        user = client.get("/auth/session").get_json()["user"]
        (record,) = self.adas
        assert (user["id"], user["email"]) == (record["id"], ADA)
        assert client.get("/dashboard").text == f"Hello {ADA}"
        assert self.records[self.eve["id"]] == self.eve

    def sign_in(self, client: FlaskClient) -> None:
        assert ask(client, ADA).status_code == 200
        assert verify(client, self.codes[-1]).status_code == 200
        self.is_ada(client)


@pytest.fixture
def make_site(make_app: MakeApp, clock: Clock, chatbotkit_sandbox: Sandbox, thief: Sandbox) -> Callable[[str], Site]:
    return lambda kind: Site(make_app, clock, chatbotkit_sandbox, kind, thief)


# Every call


def look_up_when_a_code_is_asked_for(site: Site, fault: dict[str, Any]) -> None:
    site.add(ADA)
    app = site.app(fault, CHATBOTKIT_AUTH_AUTO_CREATE=False)
    site.break_down("list", fault)
    answer = ask(app.test_client(), ADA)
    # An API that answers and does not know her is believed; then no code is sent.
    assert answer.status_code == 200 or error(answer) == (503, "upstream_unavailable")
    assert site.codes == []
    site.sandbox.heal()
    site.sign_in(app.test_client())


def look_up_when_another_is_asked_for(site: Site, fault: dict[str, Any]) -> None:
    site.add(ADA)
    client = site.app(fault, CHATBOTKIT_AUTH_AUTO_CREATE=False).test_client()
    ask(client, ADA)
    site.clock.advance(30)
    site.break_down("list", fault)
    answer = resend(client)
    assert answer.status_code == 200 or error(answer) == (503, "upstream_unavailable")
    site.sandbox.heal()
    assert verify(client, site.codes[0]).status_code == 200
    site.is_ada(client)


def look_up_of_somebody_known(site: Site, fault: dict[str, Any]) -> None:
    site.add(ADA)
    _sign_in(site, "list", fault)


def look_up_of_somebody_new(site: Site, fault: dict[str, Any]) -> None:
    _sign_in(site, "list", fault)


def making_an_account(site: Site, fault: dict[str, Any]) -> None:
    _sign_in(site, "make", fault)


def _sign_in(site: Site, call: str, fault: dict[str, Any]) -> None:
    client = site.app(fault).test_client()
    ask(client, ADA)
    site.break_down(call, fault)
    answer = verify(client, site.codes[0])
    if answer.status_code != 200:
        assert error(answer) == (503, "upstream_unavailable")
        assert client.get("/auth/session").get_json()["user"] is None
        site.sandbox.heal()
        # An answer that was lost on the way may have made the account: this time it is found.
        assert verify(client, "").status_code == 200
    site.sandbox.heal()
    site.is_ada(client)
    assert len(site.codes) == 1


def noting_that_an_address_is_proved(site: Site, fault: dict[str, Any]) -> None:
    site.add(ADA, meta={"email": ""}, verifiedAt=None)
    site.sandbox.ignore_filters = True
    client = site.app(fault).test_client()
    ask(client, ADA)
    site.break_down("update", fault)
    assert verify(client, site.codes[0]).status_code == 200
    site.sandbox.heal()
    site.is_ada(client)


def refreshing_who_is_signed_in(site: Site, fault: dict[str, Any]) -> None:
    client = site.app(fault, CHATBOTKIT_AUTH_USER_REFRESH=0).test_client()
    site.sign_in(client)
    site.break_down("fetch", fault)
    page = client.get("/dashboard")
    # Gone, in the API's own words, ends the session; anything else leaves it as it was. So does a 403 where the secret has
    # fetched nobody else of late: more likely it is the wrong one.
    ended = fault == {"status": 404}
    assert page.status_code == (302 if ended else 200)
    assert ended or page.text == f"Hello {ADA}"
    site.sandbox.heal()
    if ended:
        site.sign_in(client)
    site.is_ada(client)


CALLS: list[tuple[str, Callable[[Site, dict[str, Any]], None]]] = [
    *(
        (kind, call)
        for kind in KINDS
        for call in (
            look_up_when_a_code_is_asked_for,
            look_up_when_another_is_asked_for,
            look_up_of_somebody_known,
            look_up_of_somebody_new,
            making_an_account,
            refreshing_who_is_signed_in,
        )
    ),
    ("contact", noting_that_an_address_is_proved),
]


MATRIX = [
    (kind, call, fault)
    for kind, call in CALLS
    for fault in FAULTS
    # Whose account a new one is, only the API can say.
    if not (call is making_an_account and fault == "somebody else")
]


@pytest.mark.parametrize(
    ("kind", "call", "fault"), MATRIX, ids=[f"{kind}: {call.__name__}: {fault}" for kind, call, fault in MATRIX]
)
def test_every_call_meets_every_fault(
    make_site: Callable[[str], Site],
    thief: Sandbox,
    kind: str,
    call: Callable[[Site, dict[str, Any]], None],
    fault: str,
) -> None:
    call(make_site(kind), FAULTS[fault])
    assert thief.requests == [], "the secret has left for another host"


# Connections that break at each byte


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("call", "known"), [("list", True), ("list", False), ("make", False)])
def test_an_answer_that_breaks_off_at_each_byte(
    make_site: Callable[[str], Site], kind: str, call: str, known: bool
) -> None:
    """A sign-in, tried again and again: each answer is one byte longer, until it is whole. A code is good for ten tries."""
    site = make_site(kind)
    if known:
        site.add(ADA)
    client = site.app().test_client()
    token = client.get("/auth/session").get_json()["csrf_token"]
    code = ""
    for cut in range(10_000):
        site.sandbox.heal()
        if cut % 10 == 0:
            assert client.post("/auth/sign-in", json={"email": ADA}, headers={"X-CSRFToken": token}).status_code == 200
            code = site.codes[-1]
        site.break_down(call, {"drop": cut})
        answer = client.post("/auth/verify", json={"code": code}, headers={"X-CSRFToken": token})
        if answer.status_code == 200:
            break
        assert error(answer) == (503, "upstream_unavailable"), cut
        assert len(site.adas) <= 1
        if call == "make":
            # The account was made, and nobody was told. For the next byte it must be made anew.
            site.records.clear()
            site.records[site.eve["id"]] = site.eve
        code = ""
    assert cut > 100, "the answer has a head and a body"
    site.sandbox.heal()
    site.is_ada(client)


# Ids and addresses

ODD_IDS = [
    "../../x",
    "a/b",
    "..",
    ".",
    "a\r\nb",
    "a\0b",
    "x" * 300,
    "x" * 100_000,
    "é",
    "%2e%2e",
    "cbk-x",
    "a b",
    "?x#y",
    "\\..\\x",
    "'; DROP TABLE chatbotkit_auth_sessions; --",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("store", ["memory", "sqlite", "postgresql", "mariadb", "redis"])
def test_an_id_is_a_name_and_no_path(
    make_site: Callable[[str], Site], request: pytest.FixtureRequest, tmp_path: Path, kind: str, store: str
) -> None:
    site = make_site(kind)
    urls: dict[str, Callable[[], str]] = {
        "memory": lambda: "memory://",
        "sqlite": lambda: f"sqlite:///{tmp_path}/store.db",
        "postgresql": lambda: str(request.getfixturevalue("postgresql_url")),
        "mariadb": lambda: str(request.getfixturevalue("mariadb_url")),
        "redis": lambda: str(request.getfixturevalue("redis_url")),
    }
    app = site.app(CHATBOTKIT_AUTH_USER_REFRESH=0, CHATBOTKIT_AUTH_STORE_URL=urls[store]())
    root = "/api/v1/user/" if kind == "partner" else "/api/v1/contact/"
    try:
        for number, id in enumerate(ODD_IDS):
            email = f"ada{number}@example.com"
            site.add(email, id=id)
            client = app.test_client()
            ask(client, email)
            answer = verify(client, site.codes[-1])
            # A database may have no room for it.
            assert answer.status_code == 200 or error(answer)[0] == 503, ascii(id[:40])
            site.sandbox.requests.clear()
            assert client.get("/dashboard").status_code in (200, 302), ascii(id[:40])
            for call in site.sandbox.requests:
                assert call.path.startswith(root)
                assert call.path.endswith("/fetch")
                assert call.path.count("/") == 5
    finally:
        app.extensions["chatbotkit_auth"].store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_filters_that_are_ignored_find_the_one_person_on_whatever_page(
    make_site: Callable[[str], Site], kind: str
) -> None:
    site = make_site(kind)
    for number in range(25):
        site.add(f"person{number}@example.com")
    mine = site.add(ADA)
    for number in range(25, 50):
        site.add(f"person{number}@example.com")
    site.sandbox.ignore_filters = True
    site.sandbox.page_size = 7
    site.sign_in(site.app().test_client())
    assert site.adas == [mine]
