"""The table of ``docs/situations.rst``: each situation is made for real, and what page, log and ``doctor`` say is held."""

from __future__ import annotations

import logging
import re
import sqlite3
import ssl
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from itsdangerous import TimestampSigner

from flask_chatbotkit_auth.mail import smtp
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support import topologies
from tests.support.apps import MakeApp
from tests.support.certificates import self_signed
from tests.support.commands import run
from tests.support.mail import MailServer, serving
from tests.support.redis_server import redis_server
from tests.support.samples import DOCS
from tests.support.steps import ADA
from tests.support.workers import run_sql


class Stage(NamedTuple):
    """What a situation is made of."""

    make_app: MakeApp
    sandbox: Sandbox
    outbox: list[Message]
    folder: Path
    stack: ExitStack
    monkeypatch: pytest.MonkeyPatch
    request: pytest.FixtureRequest

    def code(self) -> str:
        return read_code(self.outbox[-1])

    def service(self, name: str) -> str:
        """Return the URL of a store on a real server."""
        url = self.request.getfixturevalue(name)
        assert isinstance(url, str)
        return url

    def program(self, name: str) -> str:
        """Return the path of a program."""
        path = self.request.getfixturevalue("installed")(name)
        assert isinstance(path, str)
        return path

    def redis(self, *options: str) -> str:
        """Start a Redis with settings of its own, and return its URL."""
        self.program("redis-server")
        return self.stack.enter_context(redis_server(self.folder / "redis", *options))

    def tables(self, url: str) -> None:
        """Make the tables, as an account that may."""
        assert run(self.make_app(CHATBOTKIT_AUTH_STORE_URL=url), "init-db").exit_code == 0

    def account(self, url: str, *rights: str, gone: str = "") -> str:
        """Make an account of PostgreSQL with ``rights`` on the tables, and return the URL with it."""
        name = f"shop_{uuid.uuid4().hex[:12]}"
        run_sql(url, f"CREATE ROLE {name} LOGIN {gone}")
        self.stack.callback(run_sql, url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")
        if rights:
            run_sql(url, f"GRANT {', '.join(rights)} ON ALL TABLES IN SCHEMA public TO {name}")
        return sa.make_url(url).set(username=name).render_as_string(hide_password=False)


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


@situation("A signed-in person opens a page while ChatBotKit is down")
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


@situation("CHATBOTKIT_API_URL is wrong, or a gateway answers HTML")
def _gateway(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(**NO_TRIES)
    client = app.test_client()
    submit(client, "sign-in", email=ADA)
    stage.sandbox.fail("*", status=200, body="<!doctype html><title>Welcome</title>")
    return app, submit(client, "verify", code=stage.code())


@situation("A machine's clock is behind another's by two seconds or more")
def _clocks(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app()
    client = app.test_client()
    with stage.monkeypatch.context() as ahead:
        now = TimestampSigner.get_timestamp
        ahead.setattr(TimestampSigner, "get_timestamp", lambda self: now(self) + 30)
        submit(client, "sign-in", email=ADA)
    theirs = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    stage.sandbox.fail("/api/v1", status=404, headers={"Date": theirs})
    return app, said(client.get("/auth/verify", follow_redirects=True).text)


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


@situation("The mail server does not take the mail now: greylisting, or it is busy (450, 451, 421)")
def _greylisted(stage: Stage) -> tuple[Flask, str]:
    server = MailServer()
    server.refusal = "450 4.2.0 Greylisted, try again later"
    app = stage.make_app(**stage.stack.enter_context(serving(server)), MAIL_DEFAULT_SENDER="a@b.example")
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("The certificate of the mail server is for another name, or is not trusted")
def _other_certificate(stage: Stage) -> tuple[Flask, str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(stage.folder, "127.0.0.1"))
    config = stage.stack.enter_context(serving(MailServer(), tls_context=context))
    app = stage.make_app(**{**config, "MAIL_SERVER": "localhost", "MAIL_USE_TLS": True})
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("The mail server's certificate has expired")
def _old_certificate(stage: Stage) -> tuple[Flask, str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = self_signed(stage.folder, "127.0.0.1", until=timedelta(hours=-1))
    context.load_cert_chain(certificate, key)
    config = stage.stack.enter_context(serving(MailServer(), tls_context=context))
    stage.monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    smtp._context.cache_clear()
    stage.stack.callback(smtp._context.cache_clear)
    app = stage.make_app(**config, MAIL_USE_TLS=True)
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("The database cannot be reached")
def _no_database(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL="postgresql+psycopg://shop@127.0.0.1:1/shop")
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("There is no such database")
def _no_such_database(stage: Stage) -> tuple[Flask, str]:
    url = sa.make_url(stage.service("postgresql_url")).set(database="nowhere")
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=url.render_as_string(hide_password=False))
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("The database refuses the user or the password")
def _no_such_user(stage: Stage) -> tuple[Flask, str]:
    url = sa.make_url(stage.service("postgresql_url")).set(username="nobody_of_ours")
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=url.render_as_string(hide_password=False))
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("The database account can only SELECT")
def _reader(stage: Stage) -> tuple[Flask, str]:
    url = stage.service("postgresql_url")
    stage.tables(url)
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=stage.account(url, "SELECT"))
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("The database has too many connections")
def _crowded(stage: Stage) -> tuple[Flask, str]:
    url = stage.service("postgresql_url")
    stage.tables(url)
    bounded = stage.account(url, "SELECT", "INSERT", "UPDATE", "DELETE", gone="CONNECTION LIMIT 1")
    engine = sa.create_engine(bounded)
    stage.stack.callback(engine.dispose)
    stage.stack.enter_context(engine.connect())
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=bounded)
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("The database is a replica (hot standby)")
def _standby(stage: Stage) -> tuple[Flask, str]:
    stage.program("pg_basebackup")
    pair = stage.stack.enter_context(topologies.postgresql_pair())
    stage.tables(pair.url)
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=pair.url.replace("read-write", "standby"))
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("PgBouncer is in front of the database, in transaction mode")
def _bouncer(stage: Stage) -> tuple[Flask, str]:
    url = stage.stack.enter_context(topologies.pgbouncer(stage.program("pgbouncer"), stage.service("postgresql_url")))
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=url)
    client = app.test_client()
    submit(client, "sign-in", email=ADA)
    submit(client, "verify", code=stage.code())
    return app, client.get("/dashboard").text


@situation("PgBouncer runs, and the database behind it does not")
def _bouncer_alone(stage: Stage) -> tuple[Flask, str]:
    away = "postgresql+psycopg://shop@127.0.0.1:1/shop"
    url = stage.stack.enter_context(topologies.pgbouncer(stage.program("pgbouncer"), away, alone=True))
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=url)
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("The tables are missing, and the database account cannot create them")
def _no_tables(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=stage.account(stage.service("postgresql_url")))
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("A table lacks a column, and the database account cannot add it")
def _no_column(stage: Stage) -> tuple[Flask, str]:
    url = stage.service("postgresql_url")
    stage.tables(url)
    run_sql(url, "ALTER TABLE chatbotkit_auth_challenges DROP COLUMN purpose")
    bounded = stage.account(url, "SELECT", "INSERT", "UPDATE", "DELETE")
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=bounded)
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("Redis cannot be reached")
def _no_redis(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL="redis://127.0.0.1:1/0")
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("Redis refuses the user or the password")
def _wrong_password(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(
        CHATBOTKIT_AUTH_STORE_URL=stage.redis("--user", "shop", "on", ">right", "~*", "+@all").replace(
            "//", "//shop:wrong@"
        )
    )
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("The user of Redis cannot run scripts: an ACL without EVAL")
def _no_eval(stage: Stage) -> tuple[Flask, str]:
    rights = ("nopass", "~*", "&*", "+@all", "-eval", "-evalsha", "-script")
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=stage.redis("--user", "default", "on", *rights))
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("Redis is full")
def _full_redis(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=stage.redis("--maxmemory", "1mb"))
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("Redis is a replica")
def _redis_replica(stage: Stage) -> tuple[Flask, str]:
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=stage.redis("--replicaof", "127.0.0.1 9"))
    return app, submit(app.test_client(), "sign-in", email=ADA)


@situation("Redis is a node of a cluster, and the URL begins with redis://")
def _node(stage: Stage) -> tuple[Flask, str]:
    stage.program("redis-cli")
    url = stage.stack.enter_context(topologies.redis_cluster(stage.folder / "cluster"))
    app = stage.make_app(CHATBOTKIT_AUTH_STORE_URL=url.replace("redis+cluster:", "redis:").partition(",")[0])
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
    row: tuple[str, str, str, str],
    make_app: MakeApp,
    chatbotkit_sandbox: Sandbox,
    chatbotkit_outbox: list[Message],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name, page, log, doctor = row
    with ExitStack() as stack:
        stage = Stage(make_app, chatbotkit_sandbox, chatbotkit_outbox, tmp_path, stack, monkeypatch, request)
        with caplog.at_level(logging.INFO, "flask_chatbotkit_auth"):
            app, seen = SITUATIONS[name](stage)
        lines = "\n".join(f"{record.levelname} {record.getMessage()}" for record in caplog.records)
        printed: Any = app.test_cli_runner().invoke(args=["chatbotkit-auth", "doctor"])
        app.extensions["chatbotkit_auth"].store.close()
    assert holds(seen, page), seen
    assert holds(lines, log) if log != "nothing" else not re.search("ERROR|WARNING", lines), lines
    assert holds(" ".join(printed.output.split()), doctor), printed.output
