"""The commands, as they are typed: what they print, what they change, and how they fail."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import (
    StoreError,
    user_created,
    user_deleted,
    user_updated,
)
from flask_chatbotkit_auth.cli import cli
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.commands import failed, flask, run, runner, told
from tests.support.steps import ask, error

ADA = "ada@example.com"
SignIn = Callable[..., TestResponse]


def test_the_commands_are_found_by_flask() -> None:
    (entry,) = entry_points(group="flask.commands", name="chatbotkit-auth")
    assert entry.load() is cli


# Without an application, or one of ours


@pytest.mark.parametrize("command", ["doctor", "init-db", "purge", "users list"])
def test_without_an_application_a_command_says_so(tmp_path: Path, command: str) -> None:
    process = flask("chatbotkit-auth", *command.split(), cwd=tmp_path)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("Error: Could not locate a Flask application")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import os\nos.environ['NO_SUCH_SETTING']\n", "KeyError: 'NO_SUCH_SETTING'"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("app = (\n", "SyntaxError: "),
    ],
    ids=["a setting is missing", "a module is missing", "it is not Python"],
)
def test_an_application_that_cannot_be_loaded_is_one_sentence(tmp_path: Path, source: str, sentence: str) -> None:
    (tmp_path / "app.py").write_text(source)
    for command in ("init-db", "doctor"):
        out, err = (process := flask("chatbotkit-auth", command, cwd=tmp_path)).communicate(timeout=60)
        assert process.returncode == 1
        assert "Traceback" not in out + err
        assert sentence in out + err
        assert (out + err).rstrip().endswith("`flask run` shows where.")


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


def test_init_db_does_not_name_itself_as_the_cure_where_it_is_none(make_app: MakeApp) -> None:
    away = make_app(CHATBOTKIT_AUTH_STORE_URL="postgresql+psycopg://shop@127.0.0.1:1/shop")
    assert failed(result := run(away, "init-db"), "check that it runs")
    assert "once with an account" not in result.stderr


def test_init_db_calls_no_store_ready_that_does_not_answer(make_app: MakeApp) -> None:
    result = run(make_app(CHATBOTKIT_AUTH_STORE_URL="redis://127.0.0.1:1/0"), "init-db")
    assert failed(result, r"Redis, the sign-in store, failed \(ConnectionError\): check that it runs")
    assert "ready" not in result.stdout


@pytest.mark.parametrize(
    "options",
    [
        "mysql+pymysql://shop@127.0.0.1:1/shop?nosuch=1",
        "mysql+pymysql://shop@127.0.0.1:1/shop?ssl_ca=/no/such",
        "mysql+pymysql://shop@127.0.0.1:1/shop?read_timeout=x",
        "sqlite:///{folder}/store.db?timeout=x",
    ],
)
def test_an_option_that_a_database_does_not_take_is_one_sentence(
    make_app: MakeApp, tmp_path: Path, options: str
) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=options.format(folder=tmp_path))
    assert failed(run(app, "init-db"), "an option after the \\? is unknown, has a wrong value, or names a file")
    assert error(ask(app.test_client(), ADA)) == (503, "store_unavailable")


def test_an_option_that_redis_does_not_take_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from flask import Flask\nfrom flask_chatbotkit_auth import ChatBotKitAuth\n"
        "app = Flask(__name__)\nChatBotKitAuth(app)\n"
    )
    url = "redis://127.0.0.1:1/0?nosuch=1"
    process = flask("chatbotkit-auth", "init-db", cwd=tmp_path, CHATBOTKIT_AUTH_STORE_URL=url)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Error: CHATBOTKIT_AUTH_STORE_URL has an option after the ? that the driver of Redis does not know" in err
    assert "Traceback" not in err


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
        heard.append(data.get("user_id") or data["user"].name)

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
        (("show", ".."), "There is no user"),
        (("create", "ada"), "not one valid e-mail address"),
        (("create", ADA), f"{ADA} has an account already"),
        (("create", "eve@example.com", "--image", "http://x"), "--image: "),
        (("update", ADA), "Say what to change"),
        (("update", ADA, "--name", "x" * 101), "--name: "),
        (("update", ADA, "--email", "bob@example.com"), "has an account of its own"),
        (("update", "nobody", "--name", "x"), "There is no user"),
        (("delete", "nobody", "--yes"), "There is no user"),
        (("show", "Jos\udce9"), "is not UTF-8"),
        (("update", ADA, "--meta", "name=Jos\udce9"), "is not UTF-8"),
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
    result = run(make_app(CHATBOTKIT_API_RETRIES=0), "users", "list")
    assert failed(result, r"the ChatBotKit API answered 503.*\. `flask chatbotkit-auth doctor` says what to do\.")


@pytest.mark.parametrize("command", ["users list", "events"])
def test_no_number_is_too_large_for_the_database(make_app: MakeApp, command: str) -> None:
    result = run(make_app(CHATBOTKIT_AUTH_EVENTS=True), *command.split(), "--limit", "9" * 20)
    assert result.exit_code == 2
    assert "is not in the range" in result.stderr


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
    # Whoever is signed in has proved the old address.
    assert client.get("/auth/session").get_json()["user"] is None
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


def test_one_session_is_not_everybodys(app: Flask, sign_in: SignIn) -> None:
    sign_in(browser := app.test_client(), ADA)
    result = run(app, "sessions", "end", "--all", "--yes", "--session", "a" * 64)
    assert failed(result, "To end only this one, name its user in place of --all")
    assert browser.get("/dashboard").status_code == 200


def test_an_app_is_listed_by_the_name_that_it_has_given_itself(
    make_app: MakeApp, chatbotkit_outbox: list[Message]
) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True)
    phone = app.test_client()
    asked = phone.post("/auth/app/sign-in", json={"email": ADA, "name": "Ada's \u202elaptop"})
    body = {"challenge": asked.get_json()["challenge"]["token"], "code": read_code(chatbotkit_outbox[-1])}
    assert phone.post("/auth/app/verify", json=body).status_code == 200
    (row,) = told(app, "sessions", "list", ADA)
    assert row["device"] == "Ada's laptop"
    assert "Ada's laptop" in run(app, "sessions", "list", ADA).stdout


def test_sessions_end_while_the_api_is_away(make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox) -> None:
    app = make_app(CHATBOTKIT_API_RETRIES=0)
    client = app.test_client()
    id = sign_in(client, ADA).get_json()["user"]["id"]
    chatbotkit_sandbox.fail("*", drop=True)
    assert told(app, "sessions", "end", id) == {"ended": 1}
    assert client.get("/dashboard").status_code == 302


# repair


@pytest.fixture
def contacts(make_app: MakeApp) -> Flask:
    """An application whose users are contacts."""
    return make_app(CHATBOTKIT_AUTH_ADAPTER="contact")


def test_a_dry_run_tells_and_writes_nothing(contacts: Flask, chatbotkit_sandbox: Sandbox) -> None:
    sandbox = chatbotkit_sandbox
    blank = sandbox.add_contact(ADA, meta={"email": "", "image": ""}, verifiedAt=1)
    wrong = sandbox.add_contact("eve@example.com", meta={"email": "old@example.com"}, verifiedAt=1)
    missing = sandbox.add_contact("Bob@Example.com", verifiedAt=1)
    case = sandbox.add_contact("case@example.com", meta={"email": "Case@example.com"}, verifiedAt=1)
    sandbox.add_contact("fine@example.com", meta={"email": "fine@example.com"})
    sandbox.add_contact(None, meta={"email": "only@example.com"})
    sandbox.add_contact(None)
    sandbox.add_contact("no address", meta={})
    report = told(contacts, "repair")
    assert (report["contacts"], report["applied"], report["duplicates"]) == (8, False, {})
    assert report["repairs"] == [
        {"id": blank["id"], "e-mail": ADA, "meta.email": None, "outcome": "heal"},
        {"id": wrong["id"], "e-mail": "eve@example.com", "meta.email": "old@example.com", "outcome": "heal"},
        {"id": missing["id"], "e-mail": "bob@example.com", "meta.email": None, "outcome": "heal"},
        {"id": case["id"], "e-mail": "case@example.com", "meta.email": "Case@example.com", "outcome": "heal"},
    ]
    assert all(request.method == "GET" for request in sandbox.requests)
    out = run(contacts, "repair").stdout
    assert out.startswith("8 contacts looked at.\n")
    assert out.endswith("Run this again with --apply to heal.\n")
    assert "eve@example.com" in out


def test_a_person_of_the_platforms_own_templates_is_found_by_the_contacts_email(
    contacts: Flask, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    contact = chatbotkit_sandbox.add_contact(ADA, name="Ada", fingerprint="0c7ca1d0-made-of-the-address", verifiedAt=1)
    assert told(contacts, "repair", "--apply")["repairs"][0]["outcome"] == "healed"
    assert sign_in(contacts.test_client(), ADA).get_json()["user"]["id"] == contact["id"]


def test_what_nobody_has_verified_is_left_alone_unless_told_to(contacts: Flask, chatbotkit_sandbox: Sandbox) -> None:
    contact = chatbotkit_sandbox.add_contact(ADA, meta={"email": ""})
    (row,) = told(contacts, "repair", "--apply")["repairs"]
    assert (row["outcome"], contact["meta"]) == ("unverified", {"email": ""})
    assert "--include-unverified" in run(contacts, "repair").stdout
    (row,) = told(contacts, "repair", "--apply", "--include-unverified")["repairs"]
    assert (row["outcome"], contact["meta"]) == ("healed", {"email": ADA})


def test_apply_heals_the_address_and_nothing_else(
    contacts: Flask, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    meta = {"email": "", "image": "", "plan": "pro", "crm": {"id": 7}}
    contact = chatbotkit_sandbox.add_contact(ADA, name="Ada", verifiedAt=1, meta=meta)
    (row,) = told(contacts, "repair", "--apply")["repairs"]
    assert row["outcome"] == "healed"
    assert contact["meta"] == {"email": ADA, "image": "", "plan": "pro", "crm": {"id": 7}}
    assert contact["name"] == "Ada"
    assert sign_in(contacts.test_client(), ADA).get_json()["user"]["id"] == contact["id"]
    assert len(chatbotkit_sandbox.contacts) == 1
    assert "Sign-in finds every one of them." in run(contacts, "repair").stdout


def test_duplicates_are_told_and_nobody_is_moved(contacts: Flask, sign_in: SignIn, chatbotkit_sandbox: Sandbox) -> None:
    oldest = chatbotkit_sandbox.add_contact(ADA, verifiedAt=1, meta={"email": ""}, createdAt=1)
    in_use = chatbotkit_sandbox.add_contact("Ada@example.com", meta={"email": ADA}, createdAt=2)
    newest = chatbotkit_sandbox.add_contact(ADA, verifiedAt=1, meta={"email": ""}, createdAt=3)
    report = told(contacts, "repair", "--apply")
    assert report["duplicates"] == {ADA: [oldest["id"], in_use["id"], newest["id"]]}
    assert {row["id"]: row["outcome"] for row in report["repairs"]} == {newest["id"]: "healed", oldest["id"]: "leave"}
    # Healed too, the oldest would be the one that sign-in takes: Ada would find herself in another account.
    assert oldest["meta"] == {"email": ""}
    assert sign_in(contacts.test_client(), ADA).get_json()["user"]["id"] == in_use["id"]
    assert len(chatbotkit_sandbox.contacts) == 3
    assert f"{ADA} has several, the oldest first: {oldest['id']}" in run(contacts, "repair").stdout


def test_what_cannot_be_healed_does_not_stop_the_rest(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    first = chatbotkit_sandbox.add_contact(ADA, verifiedAt=1)
    second = chatbotkit_sandbox.add_contact("eve@example.com", verifiedAt=1)
    chatbotkit_sandbox.fail(f"*/{first['id']}/update", status=500)
    app = make_app(CHATBOTKIT_AUTH_ADAPTER="contact", CHATBOTKIT_API_RETRIES=0)
    assert failed(run(app, "repair", "--apply"), "1 contact could not be healed")
    assert second["meta"] == {"email": "eve@example.com"}


def test_sub_accounts_get_their_address_in_normal_form(
    app: Flask, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    cap = chatbotkit_sandbox.add_user("Cap@Example.com", name="Cap", meta={"plan": "pro"})
    taken = chatbotkit_sandbox.add_user("ADA@example.com")
    ada = chatbotkit_sandbox.add_user(ADA)
    rows = told(app, "repair")["repairs"]
    assert rows == [
        {"id": cap["id"], "e-mail": "cap@example.com", "stored as": "Cap@Example.com", "outcome": "heal"},
        {"id": taken["id"], "e-mail": ADA, "stored as": "ADA@example.com", "outcome": "leave"},
    ]
    assert cap["email"] == "Cap@Example.com"
    report = told(app, "repair", "--apply")
    assert (report["sub-accounts"], report["duplicates"]) == (3, {ADA: [taken["id"], ada["id"]]})
    assert (cap["email"], cap["name"], cap["meta"]) == ("cap@example.com", "Cap", {"plan": "pro"})
    assert taken["email"] == "ADA@example.com"
    assert sign_in(app.test_client(), "cap@example.com").get_json()["user"]["id"] == cap["id"]


def test_of_two_sub_accounts_in_other_forms_one_is_healed(app: Flask, chatbotkit_sandbox: Sandbox) -> None:
    first, second = chatbotkit_sandbox.add_user("Ada@example.com"), chatbotkit_sandbox.add_user("ADA@example.com")
    assert [row["outcome"] for row in told(app, "repair", "--apply")["repairs"]] == ["healed", "leave"]
    assert (first["email"], second["email"]) == (ADA, "ADA@example.com")


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
