"""The commands, as they are typed: what they print, what they change, and how they fail."""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskCliRunner
from flask_login import LoginManager
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import (
    ChatBotKitAuth,
    ChatBotKitClient,
    PartnerAdapter,
    StoreError,
    user_created,
    user_deleted,
    user_updated,
)
from flask_chatbotkit_auth.cli import cli
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import Clock, MakeApp

ADA = "ada@example.com"
# What production looks like; the test itself only has no mail server.
SOUND: dict[str, Any] = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "SESSION_COOKIE_SECURE": True,
    "CHATBOTKIT_AUTH_MAIL_SENDER": "shop@example.com",
}

SignIn = Callable[..., TestResponse]


def runner(app: Flask) -> FlaskCliRunner:
    """Return what runs commands and keeps what they print apart from what they complain, as click does from 8.2 on."""
    mixed = "mix_stderr" in inspect.signature(CliRunner).parameters
    return app.test_cli_runner(**{"mix_stderr": False} if mixed else {})


def run(app: Flask, *arguments: str, **options: Any) -> Result:
    return runner(app).invoke(args=["chatbotkit-auth", *arguments], **options)


def told(app: Flask, *arguments: str, **options: Any) -> Any:
    """Return the JSON that a command prints."""
    result = run(app, *arguments, "--json", **options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def failed(result: Result, sentence: str) -> bool:
    assert "Traceback" not in result.output
    assert re.search(sentence, result.stderr), result.output
    return result.exit_code == 1


def flask(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Start ``flask`` as a person does, in a folder of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("FLASK_", "CHATBOTKIT_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "flask", *arguments],
        cwd=cwd,
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_commands_are_found_by_flask() -> None:
    (entry,) = entry_points(group="flask.commands", name="chatbotkit-auth")
    assert entry.load() is cli


# doctor


def findings(app: Flask) -> dict[str, tuple[str, str]]:
    result = run(app, "doctor", "--json")
    found = {each["name"]: (each["state"], each["text"]) for each in json.loads(result.stdout)}
    assert result.exit_code == (1 if any(state == "failure" for state, _ in found.values()) else 0)
    return found


def test_a_sound_application_has_nothing_to_fear(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(**SOUND, CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db")
    app.extensions["test_auth"].send_verification_request(lambda *_: None)
    result = run(app, "doctor")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", name] for name in ("configuration", "api", "clock", "store", "mail", "cookies", "user_loader")
    ]
    assert "auto create on, auto update on, auto delete off" in lines[0]
    assert "sk-test" not in result.output
    app.extensions["chatbotkit_auth"].store.close()


@pytest.mark.parametrize("adapter", ["partner", "contact"])
def test_doctor_calls_the_api_of_the_adapter(make_app: MakeApp, chatbotkit_sandbox: Sandbox, adapter: str) -> None:
    assert findings(make_app(CHATBOTKIT_AUTH_ADAPTER=adapter))["api"][0] == "ok"
    paths = [request.path for request in chatbotkit_sandbox.requests]
    assert ("/api/v1/contact/list" in paths) is (adapter == "contact")
    assert "Authorization" not in chatbotkit_sandbox.requests[-1].headers, "the clock needs no secret"


@pytest.mark.parametrize(
    ("config", "state", "text"),
    [
        ({"SECRET_KEY": None}, "failure", "SECRET_KEY is not set"),
        ({"SECRET_KEY": "dev"}, "warning", "SECRET_KEY is short"),
        ({**SOUND, "CHATBOTKIT_AUTH_AUTO_CRATE": True}, "warning", "Did you mean CHATBOTKIT_AUTH_AUTO_CREATE"),
        ({**SOUND, "CHATBOTKIT_AUTH_RATE_LIMITS": {"verify:email": None}}, "warning", "switches verify:email off"),
        ({**SOUND, "CHATBOTKIT_AUTH_CODE_LIFETIME": 3600, "provider": None}, "warning", "longer than 10 minutes"),
    ],
    ids=["no key", "short key", "a slip", "no limit", "long codes"],
)
def test_doctor_reads_the_configuration(
    chatbotkit_sandbox: Sandbox, config: dict[str, Any], state: str, text: str
) -> None:
    app = Flask("shop")
    app.config.update(TESTING=True, CHATBOTKIT_API_SECRET="sk-test", CHATBOTKIT_API_URL=chatbotkit_sandbox.url)
    app.config.update(CHATBOTKIT_AUTH_STORE_URL="memory://", **{key: config[key] for key in config if key.isupper()})
    ChatBotKitAuth(app)
    found = findings(app)["configuration"]
    assert found[0] == state
    assert text in found[1]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"status": 401}, "refuses CHATBOTKIT_API_SECRET"),
        ({"status": 403}, "may not list sub-accounts"),
        ({"status": 503}, "CHATBOTKIT_API_URL"),
        ({"drop": True}, "CHATBOTKIT_API_URL"),
        ({"status": 404, "body": "<html></html>"}, "is CHATBOTKIT_API_URL the address of a ChatBotKit API"),
    ],
    ids=str,
)
def test_doctor_tries_the_api(make_app: MakeApp, chatbotkit_sandbox: Sandbox, fault: dict[str, Any], text: str) -> None:
    chatbotkit_sandbox.fail("*/list", **fault)
    state, sentence = findings(make_app(CHATBOTKIT_API_RETRIES=0))["api"]
    assert state == "failure"
    assert text in sentence


@pytest.mark.parametrize(
    ("seconds", "direction"), [(-120, "120 seconds ahead of"), (3600, "3600 seconds behind"), (30, "")]
)
def test_doctor_compares_the_clock(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, seconds: int, direction: str
) -> None:
    theirs = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    chatbotkit_sandbox.fail("/api/v1", status=404, headers={"Date": theirs})
    state, text = findings(make_app())["clock"]
    assert state == ("failure" if direction else "ok")
    if direction:
        assert re.search(r"\d+ seconds " + direction.split(" ", 2)[2], text)
        (number,) = map(int, re.findall(r"\d+", text))
        assert abs(number - abs(seconds)) <= 3


@pytest.mark.parametrize("fault", [{"drop": True}, {"status": 404, "headers": {"Date": "yesterday"}}], ids=str)
def test_a_clock_that_cannot_be_compared_is_a_warning(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    chatbotkit_sandbox.fail("/api/v1", **fault)
    state, text = findings(make_app())["clock"]
    assert state == "warning"
    assert "not compared" in text


def test_doctor_tries_the_store(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    assert findings(app)["store"][0] == "warning", "one process's memory"
    state = app.extensions["chatbotkit_auth"]
    monkeypatch.setattr(state.limiter, "check", lambda: False)
    assert "RATE_LIMIT_STORAGE_URI" in findings(app)["store"][1]

    def fail() -> None:
        raise StoreError("the database of the sign-in store failed")

    monkeypatch.setattr(state.store, "ping", fail)
    assert findings(app)["store"] == ("failure", "the database of the sign-in store failed")


def test_doctor_tries_the_mail_server(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MAIL_SUPPRESS_SEND" in findings(make_app())["mail"][1]
    unset = findings(make_app(MAIL_SUPPRESS_SEND=False))["mail"]
    assert unset[0] == "failure"
    assert "set MAIL_SERVER" in unset[1]
    away = make_app(MAIL_SUPPRESS_SEND=False, MAIL_SERVER="127.0.0.1", MAIL_PORT=1)
    assert findings(away)["mail"][0] == "failure"
    monkeypatch.setenv("FLASK_DEBUG", "1")
    assert findings(make_app(MAIL_SUPPRESS_SEND=False))["mail"] == (
        "warning",
        "no MAIL_SERVER: codes are printed to the console while in debug mode",
    )


def test_doctor_looks_at_the_cookies(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings(make_app(SESSION_COOKIE_SECURE=True))["cookies"][0] == "ok"
    state, text = findings(make_app(SESSION_COOKIE_HTTPONLY=False, REMEMBER_COOKIE_SAMESITE="None"))["cookies"]
    assert state == "warning"
    for name in (
        "SESSION_COOKIE_SECURE",
        "REMEMBER_COOKIE_SECURE",
        "SESSION_COOKIE_HTTPONLY",
        "REMEMBER_COOKIE_SAMESITE",
    ):
        assert f"{name} is" in text
    monkeypatch.setenv("FLASK_DEBUG", "1")
    assert findings(make_app())["cookies"][0] == "ok"


def test_doctor_sees_a_user_loader_that_replaced_ours(make_app: MakeApp) -> None:
    app = make_app()
    manager: LoginManager = app.login_manager  # type: ignore[attr-defined]
    manager.user_loader(lambda _id: None)
    state, text = findings(app)["user_loader"]
    assert state == "failure"
    assert "user_callback" in text


def test_an_adapter_of_ones_own_needs_no_api(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    adapter = PartnerAdapter(ChatBotKitClient("sk-test", chatbotkit_sandbox.url))
    found = findings(make_app(CHATBOTKIT_API_SECRET=None, parts={"adapter": adapter}))
    assert (found["api"][0], found["clock"][0]) == ("ok", "ok")
    assert not chatbotkit_sandbox.requests


def test_doctor_tells_a_configuration_that_keeps_the_application_from_starting(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from flask import Flask\nfrom flask_chatbotkit_auth import ChatBotKitAuth\n"
        "app = Flask(__name__)\nChatBotKitAuth(app)\n"
    )
    process = flask("chatbotkit-auth", "doctor", cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out.startswith("failure  configuration  CHATBOTKIT_API_SECRET is not set")
    assert "Traceback" not in err
    process = flask("chatbotkit-auth", "users", "list", cwd=tmp_path)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("Error: CHATBOTKIT_API_SECRET is not set")


# Without an application, or one of ours


@pytest.mark.parametrize("command", ["doctor", "init-db", "purge", "users list"])
def test_without_an_application_a_command_says_so(tmp_path: Path, command: str) -> None:
    process = flask("chatbotkit-auth", *command.split(), cwd=tmp_path)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("Error: Could not locate a Flask application")


@pytest.mark.parametrize("command", ["doctor", "purge"])
def test_an_application_without_the_extension_is_told(command: str) -> None:
    result = runner(Flask("bare")).invoke(cli, [command])
    assert failed(result, "This application has no ChatBotKitAuth")


# The store


def test_init_db_makes_the_tables(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/new/store.db")
    assert run(app, "init-db").stdout == "The store is ready.\n"
    assert (tmp_path / "new" / "store.db").exists()
    assert run(app, "init-db").exit_code == 0
    store: SQLAlchemyStore = app.extensions["chatbotkit_auth"].store
    store.close()


def test_purge_forgets_what_is_over(make_app: MakeApp, sign_in: SignIn, clock: Clock) -> None:
    app = make_app()
    sign_in(app.test_client(), ADA)
    assert told(app, "purge") == {"forgotten": 0}
    clock.advance(8 * 86400)
    assert told(app, "purge") == {"forgotten": 2}
    assert run(app, "purge").stdout == "0 forgotten.\n"


def test_purge_goes_on_until_all_is_forgotten(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    batches = [1000, 1000, 7]
    monkeypatch.setattr(app.extensions["chatbotkit_auth"].store, "purge", lambda **_: batches.pop(0))
    assert told(app, "purge") == {"forgotten": 2007}


def test_a_store_that_fails_is_one_sentence(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()

    def fail(**_: object) -> int:
        raise StoreError("the store is away")

    monkeypatch.setattr(app.extensions["chatbotkit_auth"].store, "purge", fail)
    assert failed(run(app, "purge"), "^Error: the store is away$")


# Users


@pytest.mark.parametrize("adapter", ["partner", "contact"])
def test_an_administrator_lets_somebody_in_whatever_the_switches_say(
    make_app: MakeApp, sign_in: SignIn, adapter: str
) -> None:
    app = make_app(
        CHATBOTKIT_AUTH_ADAPTER=adapter, CHATBOTKIT_AUTH_AUTO_CREATE=False, CHATBOTKIT_AUTH_AUTO_UPDATE=False
    )
    heard: list[Any] = []

    def hear(_app: Flask, **data: Any) -> None:
        heard.append(data["user"].name if "user" in data else data["user_id"])

    with (
        user_created.connected_to(hear, app),
        user_updated.connected_to(hear, app),
        user_deleted.connected_to(hear, app),
    ):
        made = told(app, "users", "create", " Ada@Example.COM ", "--name", "Ada")
        assert (made["email"], made["name"], made["kind"]) == (ADA, "Ada", adapter)
        client = app.test_client()
        assert sign_in(client, ADA).get_json()["user"]["id"] == made["id"]

        changed = told(app, "users", "update", ADA, "--name", "Countess", "--image", "https://example.com/a.png")
        assert (changed["name"], changed["image"]) == ("Countess", "https://example.com/a.png")
        assert client.get("/auth/session").get_json()["user"]["name"] == "Countess"
        assert told(app, "users", "show", made["id"]) == told(app, "users", "show", ADA) == changed
        assert told(app, "users", "update", made["id"], "--name", "")["name"] is None

        assert told(app, "users", "delete", ADA, "--yes") == {"deleted": made["id"], "sessions_ended": 1}
    assert heard == ["Ada", "Countess", None, made["id"]]
    assert client.get("/dashboard").status_code == 302
    assert told(app, "users", "list") == []


def test_users_are_listed_in_full(app: Flask, chatbotkit_sandbox: Sandbox) -> None:
    assert run(app, "users", "list").stdout == "There are no users yet.\n"
    for number in range(105):
        chatbotkit_sandbox.add_user(f"person{number}@example.com", name=f"Person {number}")
    result = run(app, "users", "list")
    assert len(result.stdout.splitlines()) == 106
    assert result.stdout.split()[:4] == ["id", "e-mail", "name", "since"]
    assert "person104@example.com" in result.stdout
    assert result.stderr == "", "nobody is watching"
    assert len(told(app, "users", "list")) == 105
    assert [user["email"] for user in told(app, "users", "list", "--limit", "2")] == [
        "person104@example.com",
        "person103@example.com",
    ]


def test_progress_is_shown_on_a_terminal_alone(
    app: Flask, chatbotkit_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(105):
        chatbotkit_sandbox.add_user(f"person{number}@example.com")
    monkeypatch.setattr("flask_chatbotkit_auth.cli.terminal._watched", lambda: True)
    result = run(app, "users", "list", "--json")
    assert "\r100 users …" in result.stderr
    assert len(json.loads(result.stdout)) == 105


def test_a_user_is_shown(app: Flask, chatbotkit_sandbox: Sandbox) -> None:
    record = chatbotkit_sandbox.add_user(ADA, name="Ada\x1b[2J\nroot", meta={"plan": "pro"})
    out = run(app, "users", "show", record["id"]).stdout
    assert re.search(rf"^email: +{ADA}$", out, re.MULTILINE)
    assert re.search("^meta.plan: +pro$", out, re.MULTILINE)
    assert "\x1b" not in out, "a name must not write to the terminal"
    assert "Ada�[2J�root" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "nobody"), "There is no user nobody"),
        (("show", "eve@example.com"), "There is no user eve@example.com"),
        (("show", "a@"), "not one valid e-mail address"),
        (("show", ".."), "is not one"),
        (("create", "ada"), "not one valid e-mail address"),
        (("create", ADA), f"{ADA} has an account already"),
        (("create", "eve@example.com", "--image", "http://x"), "--image: "),
        (("update", ADA), "Say what to change"),
        (("update", ADA, "--name", "x" * 101), "--name: "),
        (("update", ADA, "--email", "bob@example.com"), "has an account of its own"),
        (("update", "nobody", "--name", "x"), "There is no user"),
        (("delete", "nobody", "--yes"), "There is no user"),
    ],
)
def test_a_mistake_is_one_sentence(
    app: Flask, chatbotkit_sandbox: Sandbox, arguments: tuple[str, ...], sentence: str
) -> None:
    chatbotkit_sandbox.add_user(ADA)
    chatbotkit_sandbox.add_user("bob@example.com")
    assert failed(run(app, "users", *arguments), sentence)
    assert all(request.method == "GET" for request in chatbotkit_sandbox.requests)


def test_an_outage_is_one_sentence(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    chatbotkit_sandbox.fail("*", status=503)
    assert failed(run(make_app(CHATBOTKIT_API_RETRIES=0), "users", "list"), "the ChatBotKit API answered 503")


def test_two_administrators_at_once_make_one_account(
    app: Flask, chatbotkit_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    chatbotkit_sandbox.add_user(ADA)
    monkeypatch.setattr(app.extensions["chatbotkit_auth"].adapter, "get_by_email", lambda _email: None)
    assert failed(run(app, "users", "create", ADA), "has an account already")


def test_a_new_address_is_the_one_to_sign_in_with(app: Flask, sign_in: SignIn) -> None:
    client = app.test_client()
    id = sign_in(client, ADA).get_json()["user"]["id"]
    assert told(app, "users", "update", id, "--email", "Countess@Example.com")["email"] == "countess@example.com"
    assert client.get("/auth/session").get_json()["user"]["email"] == "countess@example.com"
    assert sign_in(app.test_client(), "countess@example.com").get_json()["user"]["id"] == id
    assert sign_in(app.test_client(), ADA).get_json()["user"]["id"] != id


def test_delete_asks_first(app: Flask, chatbotkit_sandbox: Sandbox) -> None:
    record = chatbotkit_sandbox.add_user(ADA)
    for answer in ("n\n", ""):
        result = run(app, "users", "delete", ADA, input=answer)
        assert result.exit_code == 1
        assert ADA in result.stderr
        assert record["id"] in chatbotkit_sandbox.users
    result = run(app, "users", "delete", ADA, input="y\n")
    assert result.exit_code == 0
    assert f"{ADA} is deleted, and 0 sessions ended." in result.stdout
    assert not chatbotkit_sandbox.users


# Sessions


def test_sessions_are_listed_and_ended(app: Flask, sign_in: SignIn, clock: Clock) -> None:
    clients = [app.test_client() for _ in range(3)]
    for client in clients:
        sign_in(client, ADA)
    id = clients[0].get("/auth/session").get_json()["user"]["id"]
    rows = told(app, "sessions", "list", ADA)
    assert [sorted(row) for row in rows] == [["created_at", "device", "id", "ip", "last_seen_at"]] * 3
    assert rows[0]["created_at"] == clock.now.isoformat()
    assert "127.0.0.1" in run(app, "sessions", "list", id).stdout

    assert told(app, "sessions", "end", ADA, "--session", rows[0]["id"]) == {"ended": 1}
    assert failed(run(app, "sessions", "end", ADA, "--session", rows[0]["id"]), "no such session")
    result = run(app, "sessions", "end", id)
    assert result.stdout == "2 sessions ended. Every worker knows within 5 seconds.\n"
    assert [client.get("/dashboard").status_code for client in clients] == [302, 302, 302]
    assert run(app, "sessions", "list", id).stdout == "This user is signed in nowhere.\n"


def test_sessions_end_while_the_api_is_away(make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox) -> None:
    app = make_app(CHATBOTKIT_API_RETRIES=0)
    client = app.test_client()
    id = sign_in(client, ADA).get_json()["user"]["id"]
    chatbotkit_sandbox.fail("*", drop=True)
    assert told(app, "sessions", "end", id) == {"ended": 1}
    assert client.get("/dashboard").status_code == 302


# repair-contacts


@pytest.fixture
def contacts(make_app: MakeApp) -> Flask:
    """An application whose users are contacts."""
    return make_app(CHATBOTKIT_AUTH_ADAPTER="contact")


def test_a_dry_run_tells_and_writes_nothing(contacts: Flask, chatbotkit_sandbox: Sandbox) -> None:
    sandbox = chatbotkit_sandbox
    blank = sandbox.add_contact(ADA, meta={"email": "", "image": ""})
    wrong = sandbox.add_contact("eve@example.com", meta={"email": "old@example.com"})
    missing = sandbox.add_contact("Bob@Example.com")
    sandbox.add_contact("fine@example.com", meta={"email": "Fine@example.com"})
    sandbox.add_contact(None, meta={"email": "only@example.com"})
    sandbox.add_contact(None)
    sandbox.add_contact("no address", meta={})
    report = told(contacts, "repair-contacts")
    assert (report["contacts"], report["applied"], report["duplicates"]) == (7, False, {})
    assert report["repairs"] == [
        {"id": blank["id"], "e-mail": ADA, "meta.email": None, "outcome": "heal"},
        {"id": wrong["id"], "e-mail": "eve@example.com", "meta.email": "old@example.com", "outcome": "heal"},
        {"id": missing["id"], "e-mail": "bob@example.com", "meta.email": None, "outcome": "heal"},
    ]
    assert all(request.method == "GET" for request in sandbox.requests)
    out = run(contacts, "repair-contacts").stdout
    assert out.startswith("7 contacts looked at.\n")
    assert out.endswith("Run this again with --apply to heal.\n")
    assert "eve@example.com" in out


def test_apply_heals_the_address_and_nothing_else(
    contacts: Flask, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    contact = chatbotkit_sandbox.add_contact(ADA, name="Ada", meta={"email": "", "image": "", "plan": "pro"})
    (row,) = told(contacts, "repair-contacts", "--apply")["repairs"]
    assert row["outcome"] == "healed"
    assert contact["meta"] == {"email": ADA, "image": "", "plan": "pro"}
    assert contact["name"] == "Ada"
    assert sign_in(contacts.test_client(), ADA).get_json()["user"]["id"] == contact["id"]
    assert len(chatbotkit_sandbox.contacts) == 1
    assert "Sign-in finds every one of them." in run(contacts, "repair-contacts").stdout


def test_duplicates_are_told_and_nobody_is_moved(contacts: Flask, sign_in: SignIn, chatbotkit_sandbox: Sandbox) -> None:
    oldest = chatbotkit_sandbox.add_contact(ADA, meta={"email": ""}, createdAt=1)
    in_use = chatbotkit_sandbox.add_contact("Ada@example.com", meta={"email": ADA}, createdAt=2)
    newest = chatbotkit_sandbox.add_contact(ADA, meta={"email": ""}, createdAt=3)
    report = told(contacts, "repair-contacts", "--apply")
    assert report["duplicates"] == {ADA: [oldest["id"], in_use["id"], newest["id"]]}
    assert {row["id"]: row["outcome"] for row in report["repairs"]} == {newest["id"]: "healed", oldest["id"]: "leave"}
    # Healed too, the oldest would be the one that sign-in takes: Ada would find herself in another account.
    assert oldest["meta"] == {"email": ""}
    assert sign_in(contacts.test_client(), ADA).get_json()["user"]["id"] == in_use["id"]
    assert len(chatbotkit_sandbox.contacts) == 3
    assert f"{ADA} has several, the oldest first: {oldest['id']}" in run(contacts, "repair-contacts").stdout


def test_what_cannot_be_healed_does_not_stop_the_rest(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    first = chatbotkit_sandbox.add_contact(ADA)
    second = chatbotkit_sandbox.add_contact("eve@example.com")
    chatbotkit_sandbox.fail(f"*/{first['id']}/update", status=500)
    app = make_app(CHATBOTKIT_AUTH_ADAPTER="contact", CHATBOTKIT_API_RETRIES=0)
    assert failed(run(app, "repair-contacts", "--apply"), "1 contact could not be healed")
    assert second["meta"] == {"email": "eve@example.com"}


def test_sub_accounts_have_nothing_to_repair(app: Flask) -> None:
    assert failed(run(app, "repair-contacts"), "Users are sub-accounts here")


# sandbox


def test_the_sandbox_needs_no_application(tmp_path: Path) -> None:
    process = flask("chatbotkit-auth", "sandbox", "--port", "0", "--secret", "sk-mine", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "export CHATBOTKIT_API_SECRET=sk-mine\n"
    url = process.stdout.readline().strip().removeprefix("export CHATBOTKIT_API_URL=")
    headers = {"Authorization": "Bearer sk-mine"}
    assert requests.get(f"{url}/api/v1/user/list", headers=headers, timeout=10).json()["items"] == []
    assert requests.get(f"{url}/api/v1/user/list", timeout=10).status_code == 401
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")


def test_a_taken_port_is_one_sentence(tmp_path: Path, chatbotkit_sandbox: Sandbox) -> None:
    port = chatbotkit_sandbox.url.rpartition(":")[2]
    result = runner(Flask("any")).invoke(cli, ["sandbox", "--port", port])
    assert failed(result, f"Port {port} cannot be used .* --port")
