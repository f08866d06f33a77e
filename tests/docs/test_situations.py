"""The table of ``docs/situations.rst``: each situation is made for real, and what page, log and ``doctor`` say is held."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message

from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp
from tests.support.samples import DOCS
from tests.support.steps import ADA


class Stage(NamedTuple):
    """What a situation is made of."""

    make_app: MakeApp
    sandbox: Sandbox
    outbox: list[Message]
    folder: Path

    def code(self) -> str:
        return read_code(self.outbox[-1])


Situation = Callable[[Stage], tuple[Flask, str]]
SITUATIONS: dict[str, Situation] = {}
NO_TRIES = {"CHATBOTKIT_API_RETRIES": 0}


def situation(name: str) -> Callable[[Situation], Situation]:
    def note(make: Situation) -> Situation:
        SITUATIONS[name] = make
        return make

    return note


def submit(client: FlaskClient, page: str, **fields: str) -> str:
    """Send a form, follow where it leads, and return what the person reads there."""
    token = client.get("/auth/session").get_json()["csrf_token"]
    answer = client.post(f"/auth/{page}", data={**fields, "csrf_token": token})
    if answer.status_code == 303:
        answer = client.get(answer.location)
    return said(answer.text)


def said(page: str) -> str:
    text = re.sub(r"<(script|style|title)\b.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(text).split())


@situation("ChatBotKit answers 5xx, or does not answer")
def _outage(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(**NO_TRIES)
    client = app.test_client()
    submit(client, "sign-in", email=ADA)
    stage.sandbox.fail("*", status=503)
    return app, submit(client, "verify", code=stage.code())


@situation("ChatBotKit throttles: 429")
def _throttled(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(**NO_TRIES)
    client = app.test_client()
    submit(client, "sign-in", email=ADA)
    stage.sandbox.fail("*", status=429)
    return app, submit(client, "verify", code=stage.code())


@situation("A signed-in person, and ChatBotKit is away")
def _signed_in(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(**NO_TRIES, CHATBOTKIT_AUTH_USER_REFRESH=0)
    client = app.test_client()
    submit(client, "sign-in", email=ADA)
    submit(client, "verify", code=stage.code())
    stage.sandbox.fail("*", status=503)
    return app, client.get("/dashboard").text


@situation("The API secret is wrong")
def _wrong_secret(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(**NO_TRIES, CHATBOTKIT_API_SECRET="sk-wrong")
    client = app.test_client()
    submit(client, "sign-in", email=ADA)
    return app, submit(client, "verify", code=stage.code())


@situation("The API's address is another server's, or a gateway answers HTML")
def _gateway(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(**NO_TRIES)
    client = app.test_client()
    submit(client, "sign-in", email=ADA)
    stage.sandbox.fail("*", status=200, body="<!doctype html><title>Welcome</title>")
    return app, submit(client, "verify", code=stage.code())


@situation("The mail server cannot be reached")
def _no_mail(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(
        MAIL_SERVER="127.0.0.1", MAIL_PORT=1, MAIL_SUPPRESS_SEND=False, MAIL_DEFAULT_SENDER="a@b.example"
    )
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("No mail server is set")
def _unset_mail(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(MAIL_SUPPRESS_SEND=False)
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("The database cannot be reached")
def _no_database(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL="postgresql+psycopg://shop@127.0.0.1:1/shop")
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("Redis cannot be reached")
def _no_redis(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL="redis://127.0.0.1:1/0")
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("The database is read-only")
def _read_only(stage: Stage) -> tuple[Flask, str]:
    path = stage.folder / "store.db"
    made = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{path}")
    submit(made.test_client(), "sign-in", email=ADA)
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///file:{path}?mode=ro&uri=true")
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("The database has no room left")
def _full(stage: Stage) -> tuple[Flask, str]:
    path = stage.folder / "store.db"
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{path}")
    submit(app.test_client(), "sign-in", email="x@example.com")
    engine = app.extensions["chatbotkit_auth"].store.database.engine
    with engine.connect() as connection:
        raw: sqlite3.Connection = connection.connection.driver_connection
        raw.execute("PRAGMA max_page_count = 1")
    page = ""
    client = app.test_client()
    for number in range(200):
        page = submit(client, "sign-in", email=f"person{number}@example.com")
        if "right now" in page:
            break
    return app, page


@situation("Somebody asks for too many codes")
def _limited(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:ip": "1/hour"})
    client = app.test_client()
    submit(client, "sign-in", email=ADA)
    return app, submit(client, "sign-in", email="eve@example.com")


@situation("An account was deleted in ChatBotKit")
def _gone(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(CHATBOTKIT_AUTH_USER_REFRESH=0)
    client = app.test_client()
    submit(client, "sign-in", email=ADA)
    submit(client, "verify", code=stage.code())
    stage.sandbox.users.clear()
    return app, said(client.get("/dashboard", follow_redirects=True).text)


@pytest.fixture
def stage(make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message], tmp_path: Path) -> Stage:
    return Stage(make_app, chatbotkit_sandbox, chatbotkit_outbox, tmp_path)


def rows() -> Iterator[tuple[str, str, str, str]]:
    """Return the rows of the table, without its head."""
    text = (DOCS / "situations.rst").read_text(encoding="utf-8")
    cells = re.findall(r"^   (?:\* -|  -) (.*(?:\n       .*)*)", text, re.MULTILINE)
    plain = [" ".join(cell.replace("``", "").split()) for cell in cells]
    for number in range(4, len(plain), 4):
        first, second, third, fourth = plain[number : number + 4]
        yield first, second, third, fourth


ROWS = list(rows())


def holds(text: str, sentence: str) -> bool:
    """Return whether what is in the table was said; ``…`` stands for anything in one line."""
    return re.search(".*".join(re.escape(part.strip()) for part in sentence.split("…")), text) is not None


def test_each_situation_is_in_the_table_and_each_row_is_made() -> None:
    assert [name for name, *_ in ROWS] == list(SITUATIONS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_is_said_of_a_situation(
    row: tuple[str, str, str, str], stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    name, page, log, doctor = row
    with caplog.at_level(logging.INFO, "flask_chatbotkit_auth"):
        app, seen = SITUATIONS[name](stage)
    lines = "\n".join(f"{record.levelname} {record.getMessage()}" for record in caplog.records)
    printed: Any = app.test_cli_runner().invoke(args=["chatbotkit-auth", "doctor"])
    assert holds(seen, page), seen
    assert holds(lines, log) if log != "nothing" else not re.search("ERROR|WARNING", lines), lines
    assert holds(" ".join(printed.output.split()), doctor), printed.output
