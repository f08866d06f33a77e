"""Samples of the documentation that do not stand alone: fragments, a store, scripts, templates.

Every block of every page is of a kind that something here, in ``docs/test_docs.py``, in ``docs/test_commands.py`` or in
``docs/test_deployment.py`` executes; the first tests hold that.
"""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from babel.messages.pofile import read_po
from flask import Flask
from jinja2 import ChoiceLoader, DictLoader
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import ChatBotKitAuth, current_auth
from flask_chatbotkit_auth.config import Config
from flask_chatbotkit_auth.stores import Store, open_store
from flask_chatbotkit_auth.testing import Sandbox, StoreContract
from tests.support.apps import MakeApp
from tests.support.samples import SAMPLES, Block, sample, written_in
from tests.support.serving import served
from tests.support.steps import post

SignIn = Callable[..., TestResponse]

ADA = "ada@example.com"
EVE = "eve@example.com"
FRAGMENTS = [block for block in written_in("python") if not block.name and ".rst:" in block.where]
ELSEWHERE = {
    r"export CHATBOTKIT_API_SECRET=sk-…": "sets a variable, as every test does",
    r"python3 -m venv|\. \.venv|pip install": "needs the network: the gate makes such an environment, from the wheel",
    r"pybabel compile": "what it makes of such a catalogue is tested, and that ours are compiled",
    r"curl ": "asks the running application; what it answers is held by the tests of that part",
    r"\.ci/run|\.venv/bin/": "the gate, or a step of it",
    r"export CHATBOTKIT_AUTH_AUTO_CREATE=true": "sets a variable, as the tests of the samples do",
    r"flask (--app \w+ )?chatbotkit-auth events": "needs the switch for events; the command has tests of its own",
    r"docker compose |cd example_app|echo ": "needs Docker; what it reads and runs is held by tests/docs/test_docker.py",
    r"redis-cli --cluster create": "needs servers; the tests of the store make such a cluster of three",
    r"(BENCHMARK_\w+=\d+ )?python -m benchmarks": "takes minutes",
    r"python -m tests\.support\.tried": "runs tests on every Python that is there",
}
"""Commands, by how they begin, that no test runs, and why."""


# That nothing is left out


def test_every_sample_is_of_a_kind_that_is_executed() -> None:
    kinds = {block.name.partition("-")[0] for block in written_in("python")}
    assert kinds == {"", "run", "file", "deploy", "migrate", "apps", "product", "upgrade"}
    known = {"python", "sh", "console", "text", "nginx", "javascript", "json", "yaml", "html+jinja", "css", "po"}
    known |= {"ini", "sql"}  # of servers; the tests of the topologies start them with the same
    assert not [block.where for block in SAMPLES if block.language not in known]
    assert {block.name for block in written_in("text")} == {"crontab", "metrics-shown", "product-start"}


def test_every_command_is_run_or_is_known_not_to_be() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    for block in written_in("sh", "console"):
        if block.name:
            assert f'sample("{block.name}")' in tests
            continue
        for line in block.code.replace("\\\n", "").splitlines():
            command = line.removeprefix("$ ").partition("#")[0].strip()
            known = any(re.match(beginning, command) for beginning in ELSEWHERE)
            assert known or f'"{command}"' in tests, f"{block.where}: {command}"


# Python that belongs into something larger


@pytest.mark.parametrize("block", FRAGMENTS, ids=[block.where for block in FRAGMENTS])
def test_a_fragment_runs_in_an_application(
    block: Block, make_app: MakeApp, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may use ``app``, ``auth``, and ``user``, who is signed in twice where it speaks of one."""
    mails: list[dict[str, Any]] = []
    ses = SimpleNamespace(send_email=lambda **mail: mails.append(mail))
    monkeypatch.setitem(sys.modules, "boto3", SimpleNamespace(client=lambda name: ses))
    monkeypatch.setitem(sys.modules, "celery", Mock())
    log = logging.getLogger("flask_chatbotkit_auth")
    monkeypatch.setattr(log, "setLevel", lambda level: None)
    app = make_app()
    app.jinja_env.loader = ChoiceLoader([DictLoader({"code.txt": "{{ code }}"}), app.jinja_env.loader])  # type: ignore[list-item]
    namespace: dict[str, Any] = {"__name__": "sample", "app": app, "auth": app.extensions["test_auth"]}
    if re.search(r"\buser\b", block.code):
        sign_in(app.test_client(), EVE)
        namespace["user"] = sign_in(app.test_client(), EVE).get_json()["user"]["id"]
    with app.app_context():
        exec(compile(block.code, block.where, "exec"), namespace)  # noqa: S102  # our own
        if "end_sessions" in block.code:
            assert [each.id for each in current_auth.sessions(namespace["user"])] == []
    Config.load({key: value for key, value in namespace.items() if key.startswith("CHATBOTKIT_")}, {})
    for settings in (app.config, namespace):
        if "CHATBOTKIT_AUTH_STORE_URL" in settings:
            open_store(settings["CHATBOTKIT_AUTH_STORE_URL"]).close()
    if "boto3" in block.code:
        client = app.test_client()
        assert post(client, "/auth/sign-in", {"email": ADA}).status_code == 200
        code = mails[0]["Content"]["Simple"]["Body"]["Text"]["Data"]
        assert post(client, "/auth/verify", {"code": code}).status_code == 200


def test_the_sdk_acts_for_the_signed_in_person(make_app: MakeApp, sign_in: SignIn) -> None:
    (answer,) = (json.loads(block.code) for block in written_in("json") if block.where.startswith("python-sdk."))
    block = next(each for each in FRAGMENTS if each.where.startswith("python-sdk."))
    app = make_app()
    exec(compile(block.code, block.where, "exec"), {"__name__": "sample", "app": app})  # noqa: S102  # our own
    client = app.test_client()
    user = sign_in(client, ADA).get_json()["user"]["id"]
    with app.app_context():
        for name in answer["bots"]:
            current_auth.client_for(user).post("/bot/create", {"name": name})
    assert client.get("/bots").get_json() == answer


# A store from the documentation alone


@pytest.fixture
def documented_store(tmp_path: Path) -> Store:
    code = sample("run-own-store").code
    namespace: dict[str, Any] = {}
    exec(compile(code[: code.index("app = Flask(")], "stores.rst", "exec"), namespace)  # noqa: S102
    store: Store = namespace["FileStore"](str(tmp_path / "store.json"))
    return store


CONTRACT = [name for name in dir(StoreContract) if name.startswith("test_")]


@pytest.mark.parametrize("case", CONTRACT)
def test_the_documented_store_meets_the_contract(case: str, documented_store: Store) -> None:
    assert len(CONTRACT) > 50
    getattr(StoreContract(), case)(documented_store)


# What is not Python


@pytest.mark.parametrize("block", written_in("json"), ids=lambda block: block.where)
def test_json_is_json(block: Block) -> None:
    assert isinstance(json.loads(block.code), dict)


@pytest.mark.parametrize("block", written_in("javascript"), ids=lambda block: block.where)
def test_javascript_can_be_parsed(block: Block, tmp_path: Path, installed: Callable[[str], str]) -> None:
    (tmp_path / "sample.mjs").write_text(block.code, encoding="utf-8")
    subprocess.run([installed("node"), "--check", "sample.mjs"], cwd=tmp_path, check=True)


def test_the_chat_of_the_browser_shows_what_is_said(
    tmp_path: Path, chatbotkit_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, sign_in: SignIn, browser: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHATBOTKIT_API_URL", chatbotkit_sandbox.url)
    code = sample("run-chat").code.replace('"sk-…"', '"sk-test"')
    namespace: dict[str, Any] = {"__name__": "shop"}
    monkeypatch.setattr(Flask, "default_config", {**Flask.default_config, "TESTING": True})
    exec(compile(code, "chat.rst", "exec"), namespace)  # noqa: S102  # our own
    app: Flask = namespace["app"]
    client = app.test_client()
    sign_in(client, ADA)
    (script,) = (block.code for block in written_in("javascript") if block.where.startswith("chat."))
    with served(app) as origin:
        context = browser.new_context()
        cookie = client.get_cookie("session")
        assert cookie
        context.add_cookies([{"name": "session", "value": cookie.value, "url": origin}])
        page = context.new_page()
        page.goto(f"{origin}/auth/account")
        said = page.evaluate(
            f"async () => {{ let said = ''; const show = each => said += each; {script}; return said }}"
        )
        context.close()
    app.extensions["chatbotkit_auth"].store.close()
    assert "You said: Hello!" in said


@pytest.mark.parametrize("block", written_in("po"), ids=lambda block: block.where)
def test_a_catalogue_can_be_read(block: Block) -> None:
    catalogue = read_po(io.StringIO(block.code))
    assert [error for message in catalogue if message.id for error in message.check(catalogue)] == []
    assert any(message.id and message.string for message in catalogue)


def test_the_brand_of_a_site_is_on_its_pages(tmp_path: Path) -> None:
    template = next(block for block in written_in("html+jinja") if block.where.startswith("pages.rst"))
    sheet = next(block for block in written_in("css") if "--auth-brand" in block.code)
    (tmp_path / "templates" / "chatbotkit_auth").mkdir(parents=True)
    (tmp_path / "templates" / "chatbotkit_auth" / "base.html").write_text(template.code, encoding="utf-8")
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "brand.css").write_text(sheet.code, encoding="utf-8")
    app = Flask("shop", root_path=str(tmp_path))
    app.config.update(SECRET_KEY="not a secret", CHATBOTKIT_API_SECRET="sk-test")
    ChatBotKitAuth(app)
    client = app.test_client()
    page = client.get("/auth/sign-in").text
    assert '<link rel="stylesheet" href="/static/brand.css">' in page
    assert "Imprint" in page
    assert "--auth-brand: #0f766e" in client.get("/static/brand.css", buffered=True).text
