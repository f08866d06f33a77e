"""The doctor at real databases and Redis servers that do not let people sign in, though they answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_chatbotkit_auth import StoreError
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import MakeApp
from tests.support.commands import findings, flask, run
from tests.support.redis_server import redis_server
from tests.support.workers import run_sql


def found(app: Flask) -> dict[str, tuple[str, str]]:
    try:
        return findings(app)
    finally:
        app.extensions["chatbotkit_auth"].store.close()


def prepared(make_app: MakeApp, url: str) -> None:
    """Make the tables, as an account that may."""
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=url)
    assert run(app, "init-db").exit_code == 0
    app.extensions["chatbotkit_auth"].store.close()


def as_somebody_else(url: str, name: str) -> str:
    return sa.make_url(url).set(username=name).render_as_string(hide_password=False)


@pytest.mark.parametrize("database", ["postgresql_url", "mariadb_url", "redis_url"])
def test_a_real_store_that_works(make_app: MakeApp, request: pytest.FixtureRequest, database: str) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=request.getfixturevalue(database))
    result = found(app)
    assert result["store"][0] == "ok", result
    assert result["server"][0] == "ok", result


def test_nothing_of_the_try_is_left(make_app: MakeApp, postgresql_url: str) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=postgresql_url)
    with app.app_context():
        app.extensions["chatbotkit_auth"].check(deep=True)
    engine = sa.create_engine(postgresql_url)
    with engine.connect() as connection:
        for table in ("sessions", "limits"):
            count = connection.execute(sa.text(f"SELECT count(*) FROM chatbotkit_auth_{table}"))  # noqa: S608
            assert count.scalar_one() == 0, table
    engine.dispose()


def test_a_health_view_reads_and_writes_nothing(make_app: MakeApp, postgresql_url: str) -> None:
    prepared(make_app, postgresql_url)
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=f"{postgresql_url}?options=-c%20default_transaction_read_only%3Don")
    state = app.extensions["chatbotkit_auth"]
    with app.app_context():
        state.check()
        with pytest.raises(StoreError):
            state.check(deep=True)
    state.store.close()


def test_a_read_only_database_is_a_failure(make_app: MakeApp, postgresql_url: str) -> None:
    prepared(make_app, postgresql_url)
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=f"{postgresql_url}?options=-c%20default_transaction_read_only%3Don")
    assert found(app)["store"][0] == "failure"


@pytest.mark.parametrize("database", ["postgresql_url", "mariadb_url"])
def test_an_account_that_may_only_select_is_a_failure(
    make_app: MakeApp, request: pytest.FixtureRequest, database: str
) -> None:
    url = request.getfixturevalue(database)
    prepared(make_app, url)
    if database == "postgresql_url":
        name = f"reader_{sa.make_url(url).database}"
        run_sql(url, f"CREATE ROLE {name} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        gone = [f"DROP OWNED BY {name}", f"DROP ROLE {name}"]
    else:
        name = f"r_{str(sa.make_url(url).database)[-12:]}"
        run_sql(url, f"CREATE USER {name}@'%'", f"GRANT SELECT ON {sa.make_url(url).database}.* TO {name}@'%'")
        gone = [f"DROP USER {name}@'%'"]
    try:
        assert found(make_app(CHATBOTKIT_AUTH_STORE_URL=as_somebody_else(url, name)))["store"][0] == "failure"
    finally:
        run_sql(url, *gone)


def test_a_full_disk_is_a_failure(make_app: MakeApp, tmp_path: Path, chatbotkit_sandbox: Sandbox) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    prepared(make_app, url)
    (tmp_path / "app.py").write_text(
        "import resource\nfrom flask import Flask\nfrom flask_chatbotkit_auth import ChatBotKitAuth\n"
        "app = Flask(__name__)\nChatBotKitAuth(app)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file may grow: to a program, a full disk\n"
    )
    settings = {"CHATBOTKIT_API_SECRET": "sk-test", "CHATBOTKIT_API_URL": chatbotkit_sandbox.url}
    process = flask("chatbotkit-auth", "doctor", cwd=tmp_path, CHATBOTKIT_AUTH_STORE_URL=url, **settings)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert any(line.startswith("failure  store") for line in out.splitlines()), out


def test_more_connections_than_the_server_has_are_a_finding(
    make_app: MakeApp, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "1000")
    state, text = found(make_app(CHATBOTKIT_AUTH_STORE_URL=postgresql_url))["server"]
    assert state == "warning"
    assert "CHATBOTKIT_AUTH_STORE_POOL" in text


# Redis

ALL = ("default", "on", "nopass", "~*", "&*", "+@all")


@pytest.mark.parametrize(
    ("options", "store", "server"),
    [
        (("--maxmemory-policy", "allkeys-lru"), "ok", ("warning", "maxmemory-policy is allkeys-lru")),
        (("--maxmemory", "1mb"), "failure", ("ok", "")),
        (("--cluster-enabled", "yes"), "failure", ("failure", "redis+cluster://")),
        (("--user", *ALL, "-eval", "-evalsha", "-script"), "failure", ("ok", "")),
        (("--user", *ALL, "-info"), "ok", ("ok", "")),
        (("--replicaof", "127.0.0.1 9"), "failure", ("failure", "is a replica")),
    ],
    ids=[
        "evicts",
        "is full",
        "is a node of a cluster",
        "has an ACL without EVAL",
        "has an ACL without INFO",
        "is a replica",
    ],
)
def test_a_redis_that(
    make_app: MakeApp,
    installed: Callable[[str], str],
    tmp_path: Path,
    options: tuple[str, ...],
    store: str,
    server: tuple[str, str],
) -> None:
    installed("redis-server")
    with redis_server(tmp_path / "redis", *options) as url:
        result = found(make_app(CHATBOTKIT_AUTH_STORE_URL=url))
    assert result["store"][0] == store, result
    assert result["server"][0] == server[0], result
    assert server[1] in result["server"][1]


def test_a_place_of_the_limits_that_does_not_answer_is_a_failure(make_app: MakeApp, tmp_path: Path) -> None:
    with redis_server(tmp_path) as url:
        app = make_app(CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI=url, CHATBOTKIT_AUTH_RATE_LIMITS={"verify:email": None})
        assert found(app)["limits"] == ("ok", "attempts are counted in a place of their own")
    state, text = found(app)["limits"]
    assert state == "failure"
    assert text == (
        "the rate limits cannot be counted (ConnectionError): check that what CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI names "
        "runs and can be reached"
    )
