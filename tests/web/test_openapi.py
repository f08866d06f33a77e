"""The document of the JSON API: it is served where it is wanted, and what it says is so."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from flask import Flask, Request, Response, request
from flask.testing import FlaskClient
from flask_mail import Message
from openapi_spec_validator import OpenAPIV31SpecValidator

import flask_chatbotkit_auth
from flask_chatbotkit_auth import EmailCodeProvider, current_auth
from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.testing import Sandbox, SoftwareAuthenticator
from flask_chatbotkit_auth.testing.plugin import read_code
from flask_chatbotkit_auth.web import forms
from flask_chatbotkit_auth.web.openapi import document
from flask_chatbotkit_auth.web.openapi.errors import ERRORS
from flask_chatbotkit_auth.web.openapi.operations import OPERATIONS
from tests.support.apps import Clock, MakeApp

ADA = "ada@example.com"
JSON = {"Accept": "application/json"}
PACKAGE = Path(flask_chatbotkit_auth.__file__).parent
PAGES_ALONE = {"/auth/account/delete", "/auth/resend", "/auth/sign-in", "/auth/sign-out"}
"""What GET answers with a page, whatever is asked for."""

CORE = [each for each in OPERATIONS if each.needs in ("", "email_change", "events", "mail_link")]
"""The endpoints that are tried here."""

EVERYTHING = {
    "CHATBOTKIT_AUTH_EMAIL_CHANGE": True,
    "CHATBOTKIT_AUTH_EVENTS": True,
    "CHATBOTKIT_AUTH_MAIL_LINK": True,
    "CHATBOTKIT_AUTH_ORIGIN": "https://shop.example.com",
}
"""What is off by default and adds endpoints."""

WITH_APPS = {**EVERYTHING, "CHATBOTKIT_AUTH_APP_SESSIONS": True}

Json = dict[str, Any]


# Where it is served


def test_it_is_off_by_default_and_then_a_path_like_any_unknown_one(client: FlaskClient) -> None:
    answer, unknown = client.get("/auth/openapi.json"), client.get("/auth/nothing-here")
    assert answer.status_code == 404
    assert (answer.data, [*answer.headers]) == (unknown.data, [*unknown.headers])


def test_it_follows_the_prefix_the_mount_and_the_cookie(make_app: MakeApp) -> None:
    app = make_app(
        CHATBOTKIT_AUTH_OPENAPI=True, CHATBOTKIT_AUTH_URL_PREFIX="/members", SESSION_COOKIE_NAME="shop_session"
    )
    answer = app.test_client().get("/members/openapi.json", base_url="http://localhost/shop")
    assert answer.headers["Cache-Control"] == "no-store"
    found = answer.get_json()
    assert found["servers"] == [{"url": "/shop"}]
    assert all(path.startswith("/members/") for path in found["paths"])
    assert "`GET /members/session`" in found["info"]["description"]
    assert found["components"]["securitySchemes"]["session"]["name"] == "shop_session"


def test_it_follows_the_switches_and_the_codes(make_app: MakeApp, clock: Clock) -> None:
    digits = EmailCodeProvider(alphabet="0123456789", length=8)
    found = described(make_app(CHATBOTKIT_AUTH_AUTO_UPDATE=False, provider=digits))
    schemas = found["components"]["schemas"]
    assert schemas["Code"]["properties"]["code"]["description"].startswith("8 characters out of 0123456789.")
    assert schemas["Account"]["properties"]["can_update"] == {"const": False}
    for path in ("/auth/account/profile", "/auth/account/delete", "/auth/account/delete/code"):
        assert "Turned off here" in found["paths"][path]["post"]["description"]


def test_a_session_callback_opens_what_the_session_may_hold(app: Flask) -> None:
    before = described(app)["components"]["schemas"]["Session"]
    assert before["additionalProperties"] is False
    assert set(before["required"]) == {"user", "expires_at", "challenge", "csrf_token"}
    app.extensions["test_auth"].session_callback(lambda session, user: {"plan": "free"})
    after = described(app)["components"]["schemas"]["Session"]
    assert (after["additionalProperties"], after["required"]) == (True, ["csrf_token"])


def test_nobody_pays_for_it_who_does_not_ask() -> None:
    step = (
        "import flask, flask_chatbotkit_auth, sys; app = flask.Flask('app', instance_path='/nowhere'); "
        "app.config.update(SECRET_KEY='x', CHATBOTKIT_API_SECRET='sk-test', CHATBOTKIT_AUTH_OPENAPI=True); "
        "flask_chatbotkit_auth.ChatBotKitAuth(app); "
        "print([each for each in sys.modules if each.startswith('flask_chatbotkit_auth.web.openapi')])"
    )
    run = subprocess.run([sys.executable, "-c", step], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


# What it names exists, and what exists it names


def described(app: Flask) -> Json:
    with app.test_request_context():
        return document(current_auth, cookie="session", root="")


def test_it_is_valid(make_app: MakeApp) -> None:
    client = make_app(CHATBOTKIT_AUTH_OPENAPI=True).test_client()
    OpenAPIV31SpecValidator(client.get("/auth/openapi.json").get_json()).validate()


@pytest.mark.parametrize("config", [{}, EVERYTHING, WITH_APPS])
def test_every_route_that_speaks_json_is_in_it(make_app: MakeApp, config: Json) -> None:
    app = make_app(**config)
    ours = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("chatbotkit_auth.") and rule.endpoint != "chatbotkit_auth.static"
        for method in (rule.methods or set()) & {"GET", "POST", "PUT", "PATCH", "DELETE"}
    }
    named = {(method.upper(), path) for path, methods in described(app)["paths"].items() for method in methods}
    assert named == ours - {("GET", path) for path in PAGES_ALONE}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_method_that_is_not_in_it_is_the_applications_to_refuse(app: Flask, client: FlaskClient, method: str) -> None:
    for path in described(app)["paths"]:
        answer = client.open(path, method=method, headers=JSON)
        assert answer.status_code == 405
        assert method not in answer.headers["Allow"]


def test_every_error_code_is_in_it(app: Flask) -> None:
    """Those of the exceptions, and those that the views write themselves: ``{"code": …}`` and ``failed(…)``."""
    codes: dict[str, int] = {}
    for path in (PACKAGE / "web").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name(id="failed"),
                    args=[ast.Constant(value=int(status)), ast.Constant(value=str(code)), *_],
                ):
                    codes[code] = status
                case ast.Call(
                    func=ast.Name(id="make_response"),
                    args=[
                        ast.Call(
                            keywords=[
                                ast.keyword(arg="error", value=ast.Dict(values=[ast.Constant(value=str(code)), *_]))
                            ]
                        ),
                        ast.Constant(value=int(status)),
                    ],
                ):
                    codes[code] = status
    assert len(codes) == 10
    for kind in vars(flask_chatbotkit_auth.exceptions).values():
        if isinstance(kind, type) and kind.error_code not in ("error", "configuration"):  # type: ignore[attr-defined]
            codes[kind.error_code] = kind.http_status  # type: ignore[attr-defined]
    assert codes == {code: error.status for code, error in ERRORS.items()}


@pytest.mark.parametrize("config", [{}, EVERYTHING, WITH_APPS])
def test_every_schema_is_used(make_app: MakeApp, config: Json) -> None:
    found = described(make_app(**config))
    used = set(re.findall(r"#/components/schemas/(\w+)", str(found)))
    assert used == set(found["components"]["schemas"])


def test_every_link_leads_somewhere(app: Flask) -> None:
    ids = {each.id for each in OPERATIONS}
    assert {id for each in OPERATIONS for id in each.next.split()} < ids
    assert len(ids) == len(OPERATIONS)


# What is answered is what it says


class Witness:
    """Holds every answer of the applications it watches against their document, and remembers what it saw."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._json = forms._json
        monkeypatch.setattr(forms, "_json", self.body)
        self.seen: set[tuple[str, str]] = set()
        self.faults: list[str] = []
        self.read: set[tuple[str, str]] = set()
        """By operation: the fields of a JSON body that were looked for."""

    def body(self, request: Request) -> Json:
        """Return the request's JSON object, which notes what is looked for in it."""
        operations = {("/auth" + each.path, each.method): each.id for each in OPERATIONS}
        path = re.sub(r"<(\w+)>", r"{\1}", str(request.url_rule))
        operation, read = operations.get((path, request.method.lower()), ""), self.read

        class Noting(dict[str, Any]):
            def get(self, name: str, default: Any = None) -> Any:
                read.add((operation, name))
                return super().get(name, default)

        return Noting(self._json(request))

    def watch(self, app: Flask) -> None:
        @app.after_request
        def hear(response: Response) -> Response:
            found = document(current_auth, cookie="session", root="")
            path = re.sub(r"<(\w+)>", r"{\1}", str(request.url_rule))
            operation = found["paths"].get(path, {}).get(request.method.lower())
            if operation is not None:
                self.faults += [f"{request.method} {path}: {each}" for each in self._faults(found, operation, response)]
            return response

    def _faults(self, found: Json, operation: Json, response: Response) -> Iterator[str]:
        body = response.get_json()
        self.seen.add((operation["operationId"], body["error"]["code"] if "error" in body else "200"))
        declared = operation["responses"].get(str(response.status_code))
        if declared is None:
            yield f"{response.status_code} is not declared"
            return
        schema = declared["content"][response.mimetype]["schema"]
        validator = jsonschema.Draft202012Validator(
            {**schema, "components": found["components"]}, format_checker=FORMATS
        )
        for error in validator.iter_errors(body):
            yield str(error)
        if ("Retry-After" in declared.get("headers", ())) != ("Retry-After" in response.headers):
            yield "Retry-After"
        if "Retry-After" in response.headers and response.headers["Retry-After"] != str(body["error"]["retry_after"]):
            yield "two times to wait"


FORMATS = jsonschema.FormatChecker(())


@FORMATS.checks("date-time", ValueError)  # type: ignore[untyped-decorator]
def _is_a_time_with_its_zone(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


class Visitor:
    """A front end of the JSON API in a browser of its own."""

    def __init__(self, app: Flask, outbox: list[Message]) -> None:
        self.app = app
        self.client = app.test_client()
        self._outbox = outbox

    @property
    def code(self) -> str:
        return read_code(self._outbox[-1])

    @property
    def link(self) -> str:
        return str(self._outbox[-1].body).partition("/link?t=")[2][:22]

    def get(self, path: str) -> Any:
        return self.client.get(f"/auth{path}", headers=JSON).get_json()

    def post(self, path: str, **body: str) -> Any:
        headers = {"X-CSRFToken": self.get("/session")["csrf_token"]}
        return self.client.post(f"/auth{path}", json=body, headers=headers).get_json()

    def sign_in(self, email: str = ADA) -> Visitor:
        self.post("/sign-in", email=email)
        assert "user" in self.post("/verify", code=self.code)
        return self

    def ask_for_deletion(self) -> Visitor:
        self.post("/account/delete/code")
        return self

    def delete(self, code: str = "000000", confirm: str = ADA) -> Any:
        return self.post("/account/delete", confirm=confirm, code=code)


Start = Callable[..., Visitor]


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch) -> Witness:
    return Witness(monkeypatch)


@pytest.fixture
def start(make_app: MakeApp, chatbotkit_outbox: list[Message], witness: Witness) -> Start:
    """Make an application, watched, and a front end of it."""

    def start(**config: Any) -> Visitor:
        defaults: Json = {
            "CHATBOTKIT_AUTH_AUTO_DELETE": True,
            "CHATBOTKIT_AUTH_RATE_LIMITS": {"request:email": None},
            **EVERYTHING,
        }
        app = make_app(CHATBOTKIT_AUTH_SESSION_CHECK=0, CHATBOTKIT_API_RETRIES=0, **{**defaults, **config})
        witness.watch(app)
        return Visitor(app, chatbotkit_outbox)

    return start


def test_every_declared_answer_is_given_and_conforms(
    start: Start,
    witness: Witness,
    clock: Clock,
    chatbotkit_sandbox: Sandbox,
    chatbotkit_outbox: list[Message],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _go_right(start, clock, chatbotkit_outbox)
    _move(start, clock, chatbotkit_sandbox)
    _follow_links(start, clock, chatbotkit_sandbox)
    _get_refused(start)
    _mistake_oneself(start, clock)
    _do_it_too_often(start)
    _prove_too_little(start, clock)
    _be_refused_by_hooks(start)
    _meet_an_outage(start, chatbotkit_sandbox, clock)
    _meet_a_store_that_is_gone(start, monkeypatch)
    assert witness.faults == []
    declared = {
        (operation["operationId"], code)
        for methods in described(start().app)["paths"].values()
        for operation in methods.values()
        for answer in operation["responses"].values()
        for code in re.findall(r"`(\w+)`", answer["description"]) or ["200"]
    }
    assert len(declared) > 70
    assert witness.seen == declared
    assert {each for each in witness.read if each[0]} == fields_of(described(start().app))


def fields_of(found: Json) -> set[tuple[str, str]]:
    """Return by operation the fields that its request may have."""
    return {
        (operation["operationId"], name)
        for methods in found["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
        for name in found["components"]["schemas"][
            operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        ]["properties"]
    }


def test_passkeys_answer_what_is_declared(start: Start, witness: Witness, chatbotkit_outbox: list[Message]) -> None:
    origin = "https://shop.example.com"
    ada = start(CHATBOTKIT_AUTH_PASSKEYS=True, CHATBOTKIT_AUTH_ORIGIN=origin)
    document_of = described(ada.app)
    OpenAPIV31SpecValidator(document_of).validate()
    device = SoftwareAuthenticator(origin)
    ada.post("/passkey", credential="junk")
    ada.post("/account/passkeys")
    ada.sign_in()
    assert device.register(ada.client, name="Phone").status_code == 200
    (passkey,) = ada.get("/account")["passkeys"]
    path = f"/account/passkeys/{passkey['id']}"
    assert ada.post(f"{path}/name", name="Old phone")["passkey"]["name"] == "Old phone"
    ada.post(f"{path}/name", name="")
    assert device.sign_in(Visitor(ada.app, chatbotkit_outbox).client).status_code == 200
    assert ada.post(f"{path}/remove")["removed"] == 1
    ada.post(f"{path}/remove")
    assert device.sign_in(Visitor(ada.app, chatbotkit_outbox).client).status_code == 404
    assert witness.faults == []
    ours = {each.id for each in OPERATIONS if each.needs == "passkeys"}
    assert {each for each in witness.read if each[0] in ours} == {
        each for each in fields_of(document_of) if each[0] in ours
    }
    assert {id for id, code in witness.seen if code == "200"} >= ours
    assert {code for id, code in witness.seen if id in ours} >= {
        *("200", "invalid_passkey", "unknown_passkey", "not_signed_in", "invalid_profile"),
    }


def test_apps_answer_what_is_declared(
    start: Start, witness: Witness, chatbotkit_outbox: list[Message], chatbotkit_sandbox: Sandbox
) -> None:
    site = start(CHATBOTKIT_AUTH_APP_SESSIONS=True)
    found = described(site.app)
    OpenAPIV31SpecValidator(found).validate()
    assert found["components"]["securitySchemes"].keys() == {"session", "bearer"}
    assert found["paths"]["/auth/account"]["get"]["security"] == [{"session": []}, {"bearer": []}]
    assert found["paths"]["/auth/app/session"]["get"]["security"] == [{"bearer": []}]
    assert found["paths"]["/auth/app/verify"]["post"]["security"] == [{}]
    app = site.app.test_client()
    headers: dict[str, str] = {}

    def call(path: str, method: str = "POST", **body: str) -> Json:
        answer: Json = app.open(f"/auth{path}", method=method, json=body, headers=headers).get_json()
        return answer

    challenge = call("/app/sign-in", email=ADA, name="Pixel 9")["challenge"]["token"]
    call("/app/sign-in", email="nobody")
    call("/app/resend", challenge=challenge)
    call("/app/verify", challenge=challenge, code="zzzzzz")
    call("/app/session", "GET")
    call("/app/sign-out")
    call("/app/resend")
    chatbotkit_sandbox.fail("*", status=503, times=1)
    challenge = call("/app/verify", challenge=challenge, code=site.code)["error"]["challenge"]["token"]
    headers["Authorization"] = "Bearer " + call("/app/verify", challenge=challenge)["token"]
    assert call("/app/session", "GET")["user"]["email"] == ADA
    assert call("/account", "GET")["sessions"][0]["name"] == "Pixel 9"
    call("/account/profile", name="Ada")
    call("/account/delete/code")
    call("/account/delete", confirm=ADA, code="zzzzzz")
    assert call("/app/sign-out") == {"ended": 1}
    call("/app/session", "GET")
    call("/account", "GET")
    call("/app/session")
    assert witness.faults == []
    ours = {each.id for each in OPERATIONS if each.needs == "app_sessions"}
    assert {id for id, code in witness.seen if code == "200"} >= ours - {"resendAppCode", "postAppSession"}
    assert {code for id, code in witness.seen if id in ours} >= {
        *("200", "invalid_email", "invalid_code", "no_challenge", "rate_limited"),
        *("upstream_unavailable", "not_signed_in", "invalid_token"),
    }


def _go_right(start: Start, clock: Clock, outbox: list[Message]) -> None:
    ada = start()
    ada.get("/session")
    ada.post("/sign-in", email=ADA, next="/dashboard")
    assert ada.get("/verify")["challenge"]["expires_in"] == 600
    clock.advance(31)
    ada.post("/resend")
    assert ada.post("/verify", code=ada.code)["redirect"] == "/dashboard"
    assert ada.get("/session")["user"]["email"] == ADA
    assert ada.post("/account/profile", name="Ada", image="")["user"]["name"] == "Ada"
    assert ada.post("/account/device/forget") == {"forgotten": True}
    Visitor(ada.app, outbox).sign_in()
    assert ada.post("/account/sessions/end-others") == {"ended": 1}
    Visitor(ada.app, outbox).sign_in()
    other = next(each for each in ada.get("/account")["sessions"] if not each["current"])
    assert ada.post(f"/account/sessions/{other['id']}/end") == {"ended": 1}
    assert ada.get("/account/activity")["activity"][0]["kind"] == "sessions_ended"
    (own,) = ada.get("/account")["sessions"]
    assert set(ada.post(f"/account/sessions/{own['id']}/end")) == {"ended", "redirect"}
    clock.advance(900)
    ada.sign_in().ask_for_deletion()
    assert ada.delete(ada.code)["deleted"]
    ada.post("/sign-out")


def _move(start: Start, clock: Clock, sandbox: Sandbox) -> None:
    start().sign_in("grace@example.com")
    ada = start().sign_in()
    ada.get("/account/email")
    ada.post("/account/email", email="ada")
    ada.post("/account/email/verify", code="zzzzzz")
    ada.post("/account/email", email="grace@example.com")
    ada.post("/account/email", email="grace@example.com")
    ada.post("/account/email/verify", code=ada.code)
    ada.post("/account/email", email="ada@new.example")
    for _ in range(6):
        ada.post("/account/email/verify", code="zzzzzz")
    ada.post("/account/email", email="ada@newer.example")
    clock.advance(601)
    ada.post("/account/email/verify", code="zzzzzz")
    ada.post("/account/email", email="ada@newer.example")
    ada.sign_in()
    ada.post("/account/email", email="ada@newer.example")
    assert ada.get("/account/email")["challenge"]["expires_in"] == 600
    code = ada.code
    sandbox.fail("*/update", status=503)
    ada.post("/account/email/verify", code=code)
    sandbox.heal()
    assert ada.post("/account/email/verify")["user"]["email"] == "ada@newer.example"
    eve = start(CHATBOTKIT_AUTH_RATE_LIMITS={"verify:email": "1/hour"}).sign_in("eve@example.com")
    eve.post("/account/email", email="eve@new.example")
    for _ in range(2):
        eve.post("/account/email/verify", code="zzzzzz")
    eve.app.extensions["test_auth"].sign_in_callback(lambda identifier, user: False)
    eve.post("/account/email", email="eve@newer.example")
    eve.post("/account/email/verify", code=eve.code)
    eve.app.extensions["test_auth"].sign_in_callback(None)


def _prove_too_little(start: Start, clock: Clock) -> None:
    ada = start().sign_in()
    clock.advance(3700)
    for path in ("/account/sessions/x/end", "/account/sessions/end-others"):
        assert ada.post(path)["error"]["code"] == "not_fresh"


def _be_refused_by_hooks(start: Start) -> None:
    ada = start().sign_in()
    auth = ada.app.extensions["test_auth"]
    auth.delete_callback(lambda user: "Pay first.")
    assert ada.ask_for_deletion().delete(ada.code)["error"]["message"] == "Pay first."

    def fail(_user: object) -> None:
        raise OSError

    auth.provision(fail)
    ada.post("/sign-in", email="new@example.com")
    assert ada.post("/verify", code=ada.code)["error"]["code"] == "not_ready"


def _follow_links(start: Start, clock: Clock, sandbox: Sandbox) -> None:
    nobody = start()
    nobody.get("/link")
    nobody.post("/link", t="x" * 22)
    ada = start()
    ada.post("/sign-in", email=ADA)
    t = ada.link
    assert ada.get(f"/link?t={t}")["challenge"]["expires_in"] == 600
    assert ada.post("/link", t=t)["user"]["email"] == ADA
    for each in range(3):
        eve = start()
        eve.post("/sign-in", email=f"eve{each}@example.com")
        t = eve.link
        if each == 0:
            for _ in range(5):
                eve.post("/verify", code="zzzzzz")
        elif each == 1:
            clock.advance(601)
        else:
            sandbox.fail("*", status=503)
        eve.get(f"/link?t={t}")
        eve.post("/link", t=t)
    sandbox.heal()
    auth = eve.app.extensions["test_auth"]
    auth.provision(_fail_once)
    eve.post("/link", t=t)
    auth._hooks.provision = None
    auth.sign_in_callback(lambda identifier, user: False)
    eve.post("/link", t=t)
    auth.sign_in_callback(None)
    eve.post("/sign-in", email="stranger@example.com")
    with eve.app.app_context():
        current_auth.adapter.auto_create = False
    eve.post("/link", t=eve.link)


def _fail_once(_user: object) -> None:
    raise RuntimeError("not yet")


def _get_refused(start: Start) -> None:
    nobody = start()
    for each in CORE:
        path = each.path.format(session_id="x")
        if each.method == "post":
            nobody.client.post(f"/auth{path}", json={})
            nobody.post(path, much="x" * 70_000)
            nobody.post(path)
        else:
            nobody.get(path)
    off = start(
        CHATBOTKIT_AUTH_AUTO_UPDATE=False, CHATBOTKIT_AUTH_AUTO_DELETE=False, CHATBOTKIT_AUTH_EMAIL_CHANGE=False
    ).sign_in()
    off.post("/account/profile", name="Eve")
    off.ask_for_deletion().delete()
    closed = start()
    closed.app.extensions["test_auth"].sign_in_callback(lambda identifier, user: False)
    closed.post("/sign-in", email="new@example.com")
    closed.post("/verify", code=closed.code)
    closed.app.extensions["test_auth"].sign_in_callback(None)
    closed.post("/sign-in", email="newer@example.com")
    with closed.app.app_context():
        current_auth.adapter.auto_create = False
    closed.post("/verify", code=closed.code)


def _mistake_oneself(start: Start, clock: Clock) -> None:
    ada = start()
    ada.post("/sign-in", email="ada")
    ada.post("/sign-in", email=ADA)
    for _ in range(6):
        ada.post("/verify", code="zzzzzz")
    ada.post("/resend")
    clock.advance(601)
    ada.post("/verify", code="zzzzzz")
    ada.post("/resend")
    ada.sign_in()
    ada.post("/account/profile", name="\u202e", image="ftp://")
    ada.post("/account/sessions/x/end")
    ada.delete(confirm="eve@example.com")
    ada.delete()
    ada.ask_for_deletion()
    ada.delete("", confirm="eve@example.com")
    for _ in range(6):
        ada.delete("zzzzzz")
    clock.advance(601)
    ada.delete()
    with ada.app.app_context():
        (session,) = ada.get("/account")["sessions"]
        user = current_auth.store.get_session(session["id"], now=clock()).user  # type: ignore[union-attr]
        current_auth.registry.save(replace(user, email=""))
    ada.ask_for_deletion()


def _do_it_too_often(start: Start) -> None:
    ada = start(CHATBOTKIT_AUTH_RATE_LIMITS={"request:device": "1/hour", "verify:device": "1/hour"})
    ada.sign_in()
    ada.ask_for_deletion().ask_for_deletion()
    for _ in range(2):
        ada.delete("zzzzzz")
    for number in range(31):
        ada.post("/account/profile", name=f"Ada {number}")
    eve = start(CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "1/hour", "verify:email": "1/hour"})
    for _ in range(2):
        eve.post("/sign-in", email=ADA)
        eve.post("/verify", code="zzzzzz")
    eve.post("/resend")


def _meet_an_outage(start: Start, sandbox: Sandbox, clock: Clock) -> None:
    ada = start().sign_in()
    ada.ask_for_deletion()
    code = ada.code
    known = start(CHATBOTKIT_AUTH_AUTO_CREATE=False)
    known.post("/sign-in", email=ADA)
    clock.advance(31)
    sandbox.fail("*", status=503)
    ada.post("/account/profile", name="Ada L.")
    ada.delete(code)
    known.post("/resend")
    known.post("/sign-in", email=ADA)
    known.post("/verify", code=known.code)
    sandbox.heal()

    def fail(*_: object) -> None:
        raise OSError("no mail server")

    other = start().sign_in()
    other.app.extensions["test_auth"].send_verification_request(fail)
    other.ask_for_deletion()
    other.post("/account/email", email="ada@newest.example")
    other.post("/sign-in", email=ADA)
    other.post("/resend")


def _meet_a_store_that_is_gone(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError("gone")

    ada = start().sign_in()
    ada.post("/sign-in", email=ADA)
    token = {"X-CSRFToken": ada.get("/session")["csrf_token"]}
    store = ada.app.extensions["chatbotkit_auth"].store
    for name in ("get_session", "get_challenge", "add_challenge"):
        monkeypatch.setattr(store, name, fail)
    for each in CORE:
        path = f"/auth{each.path.format(session_id='x')}"
        body = {"json": {"email": ADA}, "headers": {**JSON, **token}} if each.method == "post" else {"headers": JSON}
        ada.client.open(path, method=each.method.upper(), **body)
