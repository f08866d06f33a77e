"""The commands ``limits clear`` and ``codes end``."""

from __future__ import annotations

import json
from pathlib import Path

from flask_mail import Message

from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp
from tests.support.steps import ADA, ask, error, verify

LIMITS = {"request:email": "1/hour;1/day", "verify:email": "1/hour"}


def test_limits_clear_lets_somebody_in(make_app: MakeApp, tmp_path: Path, chatbotkit_outbox: list[Message]) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    before = make_app(SECRET_KEY="old", CHATBOTKIT_AUTH_STORE_URL=url, CHATBOTKIT_AUTH_RATE_LIMITS=LIMITS)
    app = make_app(
        SECRET_KEY="new",
        SECRET_KEY_FALLBACKS=["old"],
        CHATBOTKIT_AUTH_STORE_URL=url,
        CHATBOTKIT_AUTH_RATE_LIMITS=LIMITS,
    )
    ask(before.test_client())
    client = app.test_client()
    ask(client)
    verify(client, "zzzzzz")
    assert error(verify(client, read_code(chatbotkit_outbox[-1]))) == (429, "rate_limited")
    assert error(ask(client)) == (429, "rate_limited")
    result = app.test_cli_runner().invoke(args=["chatbotkit-auth", "limits", "clear", " Ada@Example.com"])
    assert result.exit_code == 0, result.output
    assert "ada@example.com" in result.output
    assert verify(client, read_code(chatbotkit_outbox[-1])).status_code == 200
    assert ask(app.test_client()).status_code == 200
    assert ask(before.test_client()).status_code == 200


def test_limits_in_memory_are_out_of_reach(make_app: MakeApp) -> None:
    result = make_app().test_cli_runner().invoke(args=["chatbotkit-auth", "limits", "clear", ADA])
    assert result.exit_code == 1
    assert "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI" in result.output


def test_without_a_secret_key_nothing_is_called_cleared(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(SECRET_KEY=None, CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db")
    result = app.test_cli_runner().invoke(args=["chatbotkit-auth", "limits", "clear", ADA])
    assert result.exit_code == 1
    assert "SECRET_KEY is not set" in result.output


def test_a_place_of_limits_that_is_away_is_named(make_app: MakeApp) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI="redis://127.0.0.1:1/0")
    result = app.test_cli_runner().invoke(args=["chatbotkit-auth", "limits", "clear", ADA])
    assert result.exit_code == 1
    assert (
        "cannot be cleared (ConnectionError): check that what CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI" in result.output
    )


def test_codes_end_ends_what_is_under_way(make_app: MakeApp, tmp_path: Path, chatbotkit_outbox: list[Message]) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db")
    clients = [app.test_client() for _ in range(2)]
    for client in clients:
        ask(client)
    other = app.test_client()
    ask(other, "eve@example.com")
    result = app.test_cli_runner().invoke(args=["chatbotkit-auth", "codes", "end", ADA, "--json"])
    assert json.loads(result.output) == {"ended": 2}
    for client, mail in zip(clients, chatbotkit_outbox, strict=False):
        assert error(verify(client, read_code(mail))) == (400, "no_challenge")
    assert verify(other, read_code(chatbotkit_outbox[2])).status_code == 200


def test_what_is_no_address_is_told(make_app: MakeApp) -> None:
    for command in (["limits", "clear"], ["codes", "end"]):
        result = make_app().test_cli_runner().invoke(args=["chatbotkit-auth", *command, "nobody"])
        assert result.exit_code == 1
        assert "address" in result.output
