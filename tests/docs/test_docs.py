"""The documentation: its examples run, and what it names exists.

A Python block whose ``:name:`` begins with ``run-`` stands alone and is executed; those that begin with ``file-`` are files
of one project, whose tests are run.
"""

from __future__ import annotations

import ast
import doctest
import os
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest
from blinker import NamedSignal
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message, email_dispatched
from flask_sqlalchemy import SQLAlchemy
from werkzeug.test import TestResponse

import flask_chatbotkit_auth
from flask_chatbotkit_auth import ChatBotKitAuthError, StoreError, current_auth, signals
from flask_chatbotkit_auth.config import Config
from flask_chatbotkit_auth.hooks import Hooks
from flask_chatbotkit_auth.testing import Sandbox, StoreContract
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp
from tests.support.samples import DOCS, PAGES, ROOT, SAMPLES, Block, files, sample, written_in
from tests.support.steps import post

PACKAGE = Path(flask_chatbotkit_auth.__file__).parent
ADA = "ada@example.com"

SignIn = Callable[..., TestResponse]
Namespace = dict[str, Any]


BLOCKS = written_in("python")
RUN = [block for block in BLOCKS if block.name.startswith("run-") or block.where.startswith("README")]


def words(pattern: str, paths: list[Path]) -> set[str]:
    """Return what the pattern's group finds in the files."""
    return {found for path in paths for found in re.findall(pattern, path.read_text(encoding="utf-8"))}


# Examples


def test_there_are_examples() -> None:
    assert len(BLOCKS) > 25
    assert len(RUN) > 12
    named = [block.name for block in SAMPLES if block.name]
    assert len(named) == len(set(named))
    directives = sum(path.read_text(encoding="utf-8").count(".. code-block::") for path in PAGES)
    assert directives == sum(".rst:" in block.where for block in SAMPLES)


@pytest.mark.parametrize("block", BLOCKS, ids=[block.where for block in BLOCKS])
def test_an_example_compiles(block: Block) -> None:
    compile(block.code, block.where, "exec")


@pytest.fixture
def execute(
    chatbotkit_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Block], Namespace]]:
    """Execute an example as a module of its own, on the sandbox, with nothing changed in it but the secrets."""
    monkeypatch.chdir(tmp_path)
    defaults = {**Flask.default_config, "TESTING": True, "SECRET_KEY": "not a secret"}
    monkeypatch.setattr(Flask, "default_config", defaults)
    monkeypatch.setenv("CHATBOTKIT_API_URL", chatbotkit_sandbox.url)
    monkeypatch.setenv("CHATBOTKIT_API_SECRET", "sk-test")
    monkeypatch.setenv("CHATBOTKIT_AUTH_AUTO_CREATE", "true")
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)

    def execute(block: Block) -> Namespace:
        code = block.code.replace('"sk-…"', '"sk-test"').replace('SECRET_KEY="…"', 'SECRET_KEY="not a secret"')
        exec(compile(code, block.where, "exec"), vars(module))  # noqa: S102  # our own
        if "create_app" in vars(module):
            module.app = module.create_app()  # type: ignore[attr-defined]
        return vars(module)

    yield execute
    app: Flask | None = vars(module).get("app")
    if app is not None:
        app.extensions["chatbotkit_auth"].store.close()
        with app.app_context():
            for each in vars(module).values():
                if isinstance(each, SQLAlchemy):
                    each.engine.dispose()
    if "engine" in vars(module):
        module.engine.dispose()


@pytest.mark.parametrize("block", RUN, ids=[block.name or block.where for block in RUN])
def test_an_example_runs_and_signs_a_person_in(
    block: Block, execute: Callable[[Block], Namespace], sign_in: SignIn
) -> None:
    example = execute(block)
    if "app" not in example or {"sent", "pool"} & example.keys():
        return
    app: Flask = example["app"]
    client = app.test_client()
    assert sign_in(client, ADA).status_code == 200
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()) and not rule.arguments and not rule.endpoint.startswith("chatbotkit_auth."):
            assert client.get(rule.rule, follow_redirects=True).status_code == 200, rule


def test_the_example_of_the_start_guards_its_page(execute: Callable[[Block], Namespace], sign_in: SignIn) -> None:
    client = execute(sample("run-index"))["app"].test_client()
    assert client.get("/").location == "/auth/sign-in?next=%2F"
    sign_in(client, ADA)
    assert client.get("/").text == f"Hello {ADA}"


def test_the_example_of_digits_sends_eight(
    execute: Callable[[Block], Namespace], sign_in: SignIn, chatbotkit_outbox: list[Message]
) -> None:
    sign_in(execute(sample("run-digits"))["app"].test_client(), ADA)
    assert re.fullmatch(r"\d{8}", read_code(chatbotkit_outbox[0]))


def test_the_example_of_languages_follows_the_browser(execute: Callable[[Block], Namespace]) -> None:
    client = execute(sample("run-languages"))["app"].test_client()
    for asked, language in (("de-AT,de;q=0.9,en;q=0.8", "de"), ("fr", "fr"), ("fi", "en")):
        assert f'<html lang="{language}"' in client.get("/auth/sign-in", headers={"Accept-Language": asked}).text


def test_the_example_of_a_refusal_refuses(
    execute: Callable[[Block], Namespace], sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    app = execute(sample("run-refuse"))["app"]
    answer = sign_in(app.test_client(), "eve@example.org")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "sign_in_denied")
    assert "example.com" in answer.get_json()["error"]["message"]
    chatbotkit_sandbox.add_user("max@example.com", meta={"suspended": True})
    assert sign_in(app.test_client(), "max@example.com").status_code == 403


def test_the_example_of_own_users_shows_their_plan(execute: Callable[[Block], Namespace], sign_in: SignIn) -> None:
    client = execute(sample("run-own-users"))["app"].test_client()
    sign_in(client, ADA)
    assert client.get("/plan").text == f"{ADA} is on the free plan."
    assert client.get("/auth/session").get_json()["plan"] == "free"


def test_the_example_of_an_own_sender_sends(execute: Callable[[Block], Namespace]) -> None:
    made = execute(sample("run-own-sender"))
    client: FlaskClient = made["app"].test_client()
    assert post(client, "/auth/sign-in", {"email": ADA}).status_code == 200
    ((identifier, code),) = made["sent"]
    assert identifier == ADA
    assert post(client, "/auth/verify", {"code": code}).status_code == 200


def test_the_example_of_a_thread_sends(execute: Callable[[Block], Namespace], sign_in: SignIn) -> None:
    made = execute(sample("run-thread"))
    threads: list[str] = []

    def sent(_app: Flask, message: Message) -> None:
        threads.append(threading.current_thread().name)

    client: FlaskClient = made["app"].test_client()
    with email_dispatched.connected_to(sent):
        assert post(client, "/auth/sign-in", {"email": ADA}).status_code == 200
        made["pool"].shutdown()
    (name,) = threads
    assert name.startswith("ThreadPoolExecutor")


def test_the_example_of_a_chat_chats(execute: Callable[[Block], Namespace], sign_in: SignIn) -> None:
    client = execute(sample("run-chat"))["app"].test_client()
    sign_in(client, ADA)
    answer = post(client, "/chat", {"messages": [{"type": "user", "text": "Hello!"}]})
    assert answer.mimetype == "application/jsonl"
    assert "You said: Hello!" in answer.text


def test_the_example_of_a_probe_answers_503_without_the_store(
    execute: Callable[[Block], Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    app: Flask = execute(sample("run-health"))["app"]
    assert app.test_client().get("/healthz").text == "ok"
    monkeypatch.setattr(app.extensions["chatbotkit_auth"].store, "ping", Mock(side_effect=StoreError("gone")))
    assert app.test_client().get("/healthz").status_code == 503


def test_the_example_of_numbers_counts(execute: Callable[[Block], Namespace], sign_in: SignIn) -> None:
    made = execute(sample("run-metrics"))
    client = made["app"].test_client()
    sign_in(client, ADA)
    post(client, "/auth/sign-in", {"email": ADA})
    post(client, "/auth/verify", {"code": "wrong"})
    assert made["counts"] == {"codes sent": 2, "sign-ins, new": 1, "codes refused: invalid_code": 1}


def test_the_example_of_new_people_welcomes_them_once(execute: Callable[[Block], Namespace], sign_in: SignIn) -> None:
    client = execute(sample("run-new-user"))["app"].test_client()
    greetings = []
    for _ in range(2):
        assert sign_in(client, ADA).get_json()["redirect"] == "/start"
        greetings.append(client.get("/start", follow_redirects=True).text)
    assert greetings == [f"Welcome, {ADA}.", f"Hello again, {ADA}."]


def test_the_example_of_onboarding_asks_for_a_username_that_is_free(
    execute: Callable[[Block], Namespace], sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    app: Flask = execute(sample("run-onboarding"))["app"]

    def arrive(email: str, username: str) -> TestResponse:
        client = app.test_client()
        sign_in(client, email)
        assert client.get("/dashboard").location == "/welcome?next=/dashboard?"
        form = client.get("/welcome?next=/dashboard").text
        token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', form)
        assert token
        fields = {"name": "Ada", "username": username, "csrf_token": token[1]}
        return client.post("/welcome?next=/dashboard", data=fields, follow_redirects=True)

    assert arrive(ADA, "ada").text == "Hello ada"
    assert [user["name"] for user in chatbotkit_sandbox.users.values()] == ["Ada"]
    assert "This username is taken." in arrive("eve@example.com", "ada").text
    assert "3 to 20" in arrive("max@example.com", "M").text


def test_the_example_of_a_job_stops_with_a_suspension(execute: Callable[[Block], Namespace], sign_in: SignIn) -> None:
    made = execute(sample("run-jobs"))
    ada = sign_in(made["app"].test_client(), ADA).get_json()["user"]["id"]
    (shown,) = re.findall(r"::\n\n((?:   .+\n)+)", (DOCS / "jobs.rst").read_text(encoding="utf-8"))
    session = doctest.DocTestParser().get_doctest(shown, {**made, "ada": ada}, "jobs.rst", "jobs.rst", 0)
    with made["app"].app_context():
        for name in ("One", "Two"):
            current_auth.client_for(ada).post("/bot/create", {"name": name})
        assert doctest.DocTestRunner().run(session) == (0, 3)


def test_the_tests_of_the_example_pass(tmp_path: Path) -> None:
    project = files(tmp_path, "file-")
    # From Python 3.12 on Flask-Login's remember cookie is warned about.
    mild = "ignore:datetime.datetime.utc:DeprecationWarning:flask_login.login_manager"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "-W", mild, str(tmp_path)]
    # Not with the options of this run, which a project of somebody else's does not have.
    environment = {**os.environ, "PYTEST_ADDOPTS": ""}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    count = sum(block.code.count("def test_") for block in project)
    assert f"{count} passed" in run.stdout
    (shop,) = (block for block in project if block.name == "file-test_shop")
    assert f"\n{shop.code.count('def test_')} passed in …\n" in sample("console-pytest").code


# What is generated


@pytest.fixture(scope="module")
def conf() -> Namespace:
    return runpy.run_path(str(DOCS / "conf.py"))


def test_the_table_of_settings_names_every_key(conf: Namespace) -> None:
    table = conf["configuration"]()
    for each in fields(Config):
        key = each.metadata["key"]
        assert table.count(f".. confval:: {key}\n") == table.count(f":confval:`{key}`\n") == 1
        assert each.metadata["doc"] in table


@pytest.mark.parametrize("each", fields(Config), ids=lambda each: each.metadata["key"])
def test_the_example_of_a_setting_is_taken(each: Any, conf: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOTKIT_API_SECRET", "sk-test")
    value = eval(conf["_example"](each), {"os": os, "timedelta": timedelta})  # noqa: S307  # our own
    needed = {"CHATBOTKIT_AUTH_ORIGIN": "https://shop.example.com", "CHATBOTKIT_AUTH_EVENTS": True}
    Config.load({**needed, each.metadata["key"]: value}, {})


def test_every_generated_part_is_used_and_not_empty(conf: Namespace) -> None:
    assert words(r"(?m)^\.\. generated:: (\w+)$", PAGES) == set(conf["GENERATED"])
    for make in conf["GENERATED"].values():
        assert len(make()) > 100


def test_the_table_of_signals_names_every_signal(conf: Namespace) -> None:
    table = conf["signals"]()
    for name in (name for name, each in vars(signals).items() if isinstance(each, NamedSignal)):
        assert f"* - ``{name}``\n" in table


def test_the_layers_name_every_folder_and_file_of_the_package(conf: Namespace) -> None:
    named = conf["layers"]()
    for path in PACKAGE.iterdir():
        if (path.suffix == ".py" or (path / "__init__.py").is_file()) and path.stem not in ("__init__", "testing"):
            assert re.search(rf"\b{path.stem}\b", named), path.name


def test_the_tree_has_every_file_and_a_sentence_for_it(conf: Namespace) -> None:
    tree = conf["tree"]()
    for path in PACKAGE.rglob("[!_]*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        assert len(re.findall(rf"\* - ``{re.escape(name)}``\n     - \S", tree)) == 1, name


def test_the_guesses_are_those_of_the_defaults(conf: Namespace) -> None:
    table = conf["guesses"]()
    for wrong, one, two in (
        ("5", "0.0005 %", "0.001 %"),  # a challenge: five guesses at a million codes
        ("20", "0.002 %", "0.004 %"),  # an hour
        ("50", "0.005 %", "0.01 %"),  # a day
        ("18,250", "1.8 %", "3.6 %"),  # a year
    ):
        assert f"     - {wrong}\n     - {one}\n     - {two}\n" in table


# What is named exists


def test_every_setting_that_is_named_exists() -> None:
    keys = {each.metadata["key"] for each in fields(Config)}
    paths = [*PAGES, *ROOT.glob("*.md")]
    assert words(r"CHATBOTKIT_(?:API|AUTH)_[A-Z]+(?:_[A-Z]+)*(?![A-Z_])", paths) <= keys


def test_every_test_that_is_named_exists() -> None:
    named = words(r":test:`([^`]+)`", PAGES)
    assert len(named) > 40
    named |= {f"test_login.py::{each}" for each in words(r"``(test_event_\w+)``", PAGES)}
    for each in named:
        file, _, function = each.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if file == "stores/test_stores.py":
            found |= set(dir(StoreContract))  # which its class inherits
        assert function in found, each


def test_every_endpoint_that_is_named_exists_and_every_post_is_named(make_app: MakeApp) -> None:
    app = make_app(
        CHATBOTKIT_AUTH_EMAIL_CHANGE=True,
        CHATBOTKIT_AUTH_EVENTS=True,
        CHATBOTKIT_AUTH_MAIL_LINK=True,
        CHATBOTKIT_AUTH_ORIGIN="https://shop.example.com",
    )
    named = set(re.findall(r"``(GET|POST) (/auth/[^`]*)``", (DOCS / "json-api.rst").read_text(encoding="utf-8")))
    ours = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("chatbotkit_auth.")
        for method in rule.methods or ()
    }
    assert named <= ours
    assert {each for each in ours if each[0] == "POST"} <= named


def test_every_error_code_that_is_named_exists_and_every_one_is_named(conf: Namespace) -> None:
    page = conf["errors"]()
    table = set(re.findall(r":error:`(\w+)`", page))
    assert words(r":error:`(\w+)`", PAGES) <= table
    constants = {
        node.value
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
    }
    assert table <= constants
    # Those that an answer of the blueprint may carry.
    kinds = [each for each in _all_kinds(ChatBotKitAuthError) if each.__module__ == "flask_chatbotkit_auth.exceptions"]
    assert {each.error_code for each in kinds} - {"error", "configuration"} <= table
    for row in re.findall(r":error:`(\w+)`\n +- (\d+)\n", page):
        for kind in kinds:
            if kind.error_code == row[0]:
                assert kind.http_status == int(row[1]), row


def test_every_sentence_of_a_page_that_is_quoted_exists() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    quoted = words(r":said:`([^`]+)`", PAGES)
    assert len(quoted) > 3
    for sentence in quoted:
        assert f'"{sentence}"' in source, sentence


def test_the_messages_hold_what_a_developer_meets(conf: Namespace) -> None:
    table = conf["messages"]()
    assert "This application has no ChatBotKitAuth. Call ChatBotKitAuth(app)" in table
    assert "CHATBOTKIT_AUTH_STORE_URL is not a URL of a store." in table
    assert "no code sent, and the answer does not say so: …" in table
    assert table.count("\n- ``") > 80


def test_the_messages_hold_every_exception_with_a_sentence(conf: Namespace) -> None:
    table = conf["messages"]()
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if place.startswith(("testing/", "web/openapi/", "config/parse.py")):  # those of settings are tried, below
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = conf["_text"](node.exc.args[0])
                if any(each in ast.unparse(node.exc) for each in ("CSRF", "OriginRefused", "AttributeError")):
                    continue  # a page of its own answers the first two, and the third is as Python says it
                if len(text.replace("…", "").split()) > 3:
                    assert conf["_literal"](text) in table, f"{place}: {text}"
    assert "refused the login (…); check MAIL_USERNAME and MAIL_PASSWORD" in table


@pytest.mark.parametrize("each", fields(Config), ids=lambda each: each.metadata["key"])
def test_what_a_setting_answers_to_a_wrong_value_is_among_the_messages(each: Any, conf: Namespace) -> None:
    settings = conf["messages"]().partition("The store (StoreError)")[0]
    assert f":confval:`{each.metadata['key']}`" in settings
    if each.type != "bool" and not str(each.type).startswith("bool"):
        return
    assert re.search(rf"give True or False\.`` This is about .*:confval:`{each.metadata['key']}`", settings)


def test_every_hook_and_cookie_and_dependency_is_in_the_reference(conf: Namespace) -> None:
    for hook in fields(Hooks):
        assert re.search(rf"@auth\.{hook.name}(_callback)? <", conf["hooks"]()), hook.name
    assert conf["cookies"]().count("* - ``") == 3
    for name in ("Flask", "SQLAlchemy", "requests", "psycopg[binary]", "webauthn"):
        assert f"* - {name}\n" in conf["requirements"]()


def test_every_line_of_the_log_that_is_named_exists() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    source = re.sub(r'"\s*\n\s*"', "", source)  # a sentence may be longer than a line
    for line in words(r":log:`([^`]+)`", PAGES):
        assert f'"{line}"' in source


def test_every_public_name_is_in_the_reference(conf: Namespace) -> None:
    page = (DOCS / "api.rst").read_text(encoding="utf-8") + conf["signal_objects"]()
    automatic = {kind.__name__ for kind in _all_kinds(ChatBotKitAuthError)} | {"ChatBotKitAuthError"}
    for name in set(flask_chatbotkit_auth.__all__) - automatic:
        assert re.search(rf":: flask_chatbotkit_auth\.(signals\.)?{name}\b", page), name


def _all_kinds(kind: type[ChatBotKitAuthError]) -> set[type[ChatBotKitAuthError]]:
    kinds = {kind}
    for each in kind.__subclasses__():
        kinds |= _all_kinds(each)
    return kinds
