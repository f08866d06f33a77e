"""What a sign-in may cost, in counts and not in time: statements, calls, bytes, imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import ChatBotKitAuth
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp

ADA = "ada@example.com"
SignIn = Callable[..., TestResponse]

NEIGHBOURS = "import flask, flask_login, flask_wtf, flask_mail, sqlalchemy, requests"
MAKE_AN_APP = (
    "import flask, flask_chatbotkit_auth; app = flask.Flask('app', instance_path='/nowhere'); "
    "app.config.update(SECRET_KEY='x', CHATBOTKIT_API_SECRET='sk-test'); flask_chatbotkit_auth.ChatBotKitAuth(app)"
)


@pytest.fixture
def app(make_app: MakeApp, tmp_path: object) -> Flask:
    return make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db", CHATBOTKIT_AUTH_SESSION_CHECK=3600)


@contextmanager
def statements(app: Flask) -> Iterator[list[str]]:
    """Collect the SQL statements of the application's store, but for those that count for rate limits."""
    auth: ChatBotKitAuth = app.extensions["test_auth"]
    assert auth
    store = app.extensions["chatbotkit_auth"].store
    assert isinstance(store, SQLAlchemyStore)
    store.setup()
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "chatbotkit_auth_limits" not in statement:
            seen.append(statement)

    engine = store.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", note)


def test_a_sign_in_takes_six_connections_of_the_pool(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    # Each is a way to the pool and, on a server, a sign of life that is asked for first.
    sign_in(client, ADA)
    taken: list[object] = []
    engine = app.extensions["chatbotkit_auth"].store.database.engine
    sa.event.listen(engine, "checkout", lambda connection, _record, _proxy: taken.append(connection))
    sign_in(app.test_client(), ADA)
    assert len(taken) == 6


@pytest.mark.parametrize("kind", ["partner", "contact"])
def test_a_sign_in_takes_six_statements_and_one_call(
    make_app: MakeApp, tmp_path: object, chatbotkit_sandbox: Sandbox, sign_in: SignIn, kind: str
) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db", CHATBOTKIT_AUTH_ADAPTER=kind)
    sign_in(app.test_client(), ADA)
    chatbotkit_sandbox.requests.clear()
    client = app.test_client()
    with statements(app) as seen:
        sign_in(client, ADA)
        assert client.get("/dashboard").status_code == 200
    # The challenge: made, read, verified, completed. The session: made, confirmed.
    assert len(seen) == 6, seen
    assert len(chatbotkit_sandbox.requests) == 1


def test_the_pages_take_no_more(app: Flask, chatbotkit_sandbox: Sandbox, sign_in: SignIn) -> None:
    app.config["WTF_CSRF_ENABLED"] = False
    sign_in(app.test_client(), ADA)
    chatbotkit_sandbox.requests.clear()
    client = app.test_client()
    with statements(app) as seen:
        client.get("/auth/sign-in")
        sign_in(client, ADA)
    assert len(seen) == 6, seen


def test_a_page_that_the_worker_knows_the_person_of_takes_nothing(
    app: Flask, client: FlaskClient, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    sign_in(client, ADA)
    chatbotkit_sandbox.requests.clear()
    with statements(app) as seen:
        for _ in range(3):
            assert client.get("/dashboard").status_code == 200
    assert seen == []
    assert chatbotkit_sandbox.requests == []


def test_a_page_reads_the_session_in_one_statement(make_app: MakeApp, tmp_path: object, sign_in: SignIn) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db", CHATBOTKIT_AUTH_SESSION_CHECK=0)
    client = app.test_client()
    sign_in(client, ADA)
    with statements(app) as seen:
        assert client.get("/dashboard").status_code == 200
    assert len(seen) == 1


def test_cookies_stay_small_however_large_the_record_is(
    app: Flask, client: FlaskClient, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    chatbotkit_sandbox.add_user(ADA, name="Ada " * 20, meta={"verifiedAt": 1, "notes": "x" * 20_000})
    assert sign_in(client, ADA).status_code == 200
    assert client.get("/dashboard").status_code == 200
    cookies = [client.get_cookie(name) for name in ("session", "remember_token")]
    assert sum(len(f"{each.key}={each.value}") for each in cookies if each) < 1024


@pytest.mark.parametrize("step", ["import flask_chatbotkit_auth", MAKE_AN_APP])
def test_no_worker_imports_what_it_may_never_use(step: str) -> None:
    heavy = (
        "email_validator",
        "psycopg",
        "pymysql",
        "redis",
        "sqlalchemy.dialects.mysql",
        "sqlalchemy.dialects.postgresql",
    )
    program = f"import sys; {NEIGHBOURS}; before = set(sys.modules); {step}; print(*(set(sys.modules) - before))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(heavy) & set(answer.stdout.split())


def loaded(step: str, before: str = NEIGHBOURS) -> set[str]:
    """Return the packages, those of Python's own library as well, that ``step`` loads after ``before``."""
    program = (
        f"import sys; {before}; before = set(sys.modules); {step}; "
        "print(*{each.partition('.')[0] for each in set(sys.modules) - before})"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


def test_the_package_imports_nothing_that_its_neighbours_do_not() -> None:
    assert loaded("import flask_chatbotkit_auth") == {"flask_chatbotkit_auth"}


def test_an_application_imports_what_counts_its_limits_and_its_database_and_nothing_else() -> None:
    parts = "import limits.storage, limits.strategies, sqlalchemy.dialects.sqlite, sqlite3"
    assert loaded(MAKE_AN_APP, f"{NEIGHBOURS}, {parts.removeprefix('import ')}") == {"flask_chatbotkit_auth"}


def test_sessions_for_apps_cost_nothing_where_they_are_off(make_app: MakeApp) -> None:
    program = f"import sys; {MAKE_AN_APP}; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    ours = {f"flask_chatbotkit_auth.{name}" for name in ("web.apps", "web.bearer", "flows.apps")}
    assert not ours & set(answer.stdout.split())
    on, off = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True), make_app()
    for hooks in ("before_request_funcs", "after_request_funcs"):
        assert len(getattr(on, hooks)[None]) == len(getattr(off, hooks)[None]) + 1
    assert not [rule for rule in off.url_map.iter_rules() if "/app/" in rule.rule]


def test_the_sign_in_of_an_app_takes_eight_statements_at_most(
    make_app: MakeApp, tmp_path: object, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message]
) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db", CHATBOTKIT_AUTH_APP_SESSIONS=True)
    chatbotkit_sandbox.add_user(ADA)
    client = app.test_client()
    with statements(app) as seen:
        challenge = client.post("/auth/app/sign-in", json={"email": ADA}).get_json()["challenge"]["token"]
        body = {"challenge": challenge, "code": read_code(chatbotkit_outbox[-1])}
        token = client.post("/auth/app/verify", json=body).get_json()["token"]
        assert client.get("/dashboard", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert len(seen) <= 8, seen
    assert len(chatbotkit_sandbox.requests) == 1


def test_the_package_imports_the_limits_library_only_for_an_application() -> None:
    program = "import sys, flask_chatbotkit_auth; print('limits' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"
