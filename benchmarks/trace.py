"""What one sign-in does, counted and not timed: our calls and files, look-ups of ``current_auth``, transactions, statements.

It gives the same on every machine. Everything runs in this process, on SQLite, with mails that are composed and not sent.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import flask_mail
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_login import login_required
from sqlalchemy.engine import Engine

import flask_chatbotkit_auth
from flask_chatbotkit_auth import ChatBotKitAuth
from flask_chatbotkit_auth.testing import Sandbox

from .apps.instruments import EMAIL
from .browser import TOKEN
from .report import show

PACKAGE = str(Path(flask_chatbotkit_auth.__file__).parent)
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7",
    "Sec-Fetch-Site": "same-origin",
}
SCRIPT = {**BROWSER, "Accept": "application/json"}


@dataclass
class Trace:
    """What one request did."""

    calls: int = 0
    """Of functions of this package, comprehensions and steps of generators included."""

    files: set[str] = field(default_factory=set)
    """Files of this package in which a function was called."""

    lookups: int = 0
    """How often ``current_auth`` was resolved."""

    connections: int = 0
    """How often a connection was taken from the pool: on a server each is a sign of life that is asked for first."""

    statements: int = 0
    """SQL statements, BEGIN and COMMIT not counted."""

    def row(self, name: str) -> list[str]:
        """Return the cells of a table."""
        counts = (self.calls, len(self.files), self.lookups, self.connections, self.statements)
        return [name, *map(str, counts)]


def run() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        sandbox.add_user(EMAIL, name="Ada", meta={"verifiedAt": 1})
        app = make_app(sandbox, folder)
        rows = [trace.row(name) for name, trace in trace_sign_in(app)]
    show(
        "What a sign-in does",
        ["", "our calls", "in files", "look-ups of current_auth", "connections taken", "SQL statements"],
        rows,
    )


def make_app(sandbox: Sandbox, folder: str, **settings: Any) -> Flask:
    """Return an application with our defaults, whose limits no measurement reaches."""
    app = Flask(__name__, instance_path=folder)
    app.config.update(
        SECRET_KEY="not a secret",
        MAIL_SERVER="127.0.0.1",
        MAIL_SUPPRESS_SEND=True,
        CHATBOTKIT_API_SECRET="sk-test",
        CHATBOTKIT_API_URL=sandbox.url,
        CHATBOTKIT_AUTH_AUTO_CREATE=True,
        CHATBOTKIT_AUTH_SIGN_IN_REDIRECT="/page",
        CHATBOTKIT_AUTH_RATE_LIMITS=dict.fromkeys(
            ("request:email", "request:ip", "request:device", "verify:email", "verify:ip", "verify:device"),
            "1000000/hour",
        ),
        **settings,
    )
    ChatBotKitAuth(app)

    @app.get("/page")
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login has no type information
    def page() -> str:
        return "Hello"

    return app


def trace_sign_in(app: Flask) -> Iterator[tuple[str, Trace]]:
    """Sign in by pages and over JSON, after once of each; yield the name and the trace of each request."""
    for visit in (_by_pages, _over_json):
        for _ in visit(app, app.test_client(), _untraced):
            pass
        yield from visit(app, app.test_client(), _traced)


Tracing = Callable[[Flask, Callable[[], Any]], tuple[Any, Trace]]


def _by_pages(app: Flask, client: FlaskClient, tracing: Tracing) -> Iterator[tuple[str, Trace]]:
    answer, trace = tracing(app, lambda: client.get("/auth/sign-in", headers=BROWSER))
    yield "GET /auth/sign-in", trace
    form = {"csrf_token": _token(answer.text), "email": EMAIL}
    with _mails() as mails:
        answer, trace = tracing(app, lambda: client.post("/auth/sign-in", data=form, headers=BROWSER))
    yield "POST /auth/sign-in", trace
    answer, trace = tracing(app, lambda: client.get("/auth/verify", headers=BROWSER))
    yield "GET /auth/verify", trace
    form = {"csrf_token": _token(answer.text), "code": _code(mails)}
    answer, trace = tracing(app, lambda: client.post("/auth/verify", data=form, headers=BROWSER))
    yield "POST /auth/verify", trace
    answer, trace = tracing(app, lambda: client.get("/page", headers=BROWSER))
    assert answer.status_code == 200, answer.status
    yield "the first page", trace
    answer, trace = tracing(app, lambda: client.get("/page", headers=BROWSER))
    yield "the next page", trace


def _over_json(app: Flask, client: FlaskClient, tracing: Tracing) -> Iterator[tuple[str, Trace]]:
    answer, trace = tracing(app, lambda: client.get("/auth/session", headers=SCRIPT))
    yield "GET /auth/session", trace
    headers = {**SCRIPT, "X-CSRFToken": answer.get_json()["csrf_token"]}
    with _mails() as mails:
        answer, trace = tracing(app, lambda: client.post("/auth/sign-in", json={"email": EMAIL}, headers=headers))
    yield "POST /auth/sign-in, JSON", trace
    code = _code(mails)
    answer, trace = tracing(app, lambda: client.post("/auth/verify", json={"code": code}, headers=headers))
    assert answer.status_code == 200, answer.status
    yield "POST /auth/verify, JSON", trace
    answer, trace = tracing(app, lambda: client.get("/auth/session", headers=SCRIPT))
    yield "GET /auth/session, signed in", trace


def _untraced(_app: Flask, request: Callable[[], Any]) -> tuple[Any, Trace]:
    return request(), Trace()


def _traced(app: Flask, request: Callable[[], Any]) -> tuple[Any, Trace]:
    """Return the answer, and what was done for it."""
    trace = Trace()
    engine: Engine = app.extensions["chatbotkit_auth"].store.database.engine

    def checkout(*_: object) -> None:
        trace.connections += 1

    def execute(*_: object) -> None:
        trace.statements += 1

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            if "/testing/" in frame.f_code.co_filename:
                return
            trace.calls += 1
            trace.files.add(frame.f_code.co_filename)
            trace.lookups += frame.f_code.co_name == "current_state" and frame.f_code.co_filename.endswith("/state.py")

    sa.event.listen(engine, "checkout", checkout)
    sa.event.listen(engine, "before_cursor_execute", execute)
    sys.setprofile(profile)
    try:
        answer = request()
    finally:
        sys.setprofile(None)
        sa.event.remove(engine, "checkout", checkout)
        sa.event.remove(engine, "before_cursor_execute", execute)
    return answer, trace


@contextmanager
def _mails() -> Iterator[list[flask_mail.Message]]:
    mails: list[flask_mail.Message] = []

    def keep(_app: object, message: flask_mail.Message) -> None:
        mails.append(message)

    with flask_mail.email_dispatched.connected_to(keep):
        yield mails


def _code(mails: list[flask_mail.Message]) -> str:
    found = re.search(r"^\s+(\d{6})$", mails[-1].body or "", re.MULTILINE)
    assert found, "a mail holds no code"
    return found[1]


def _token(page: str) -> str:
    found = TOKEN.search(page)
    assert found, "a page holds no form"
    return found[2]
