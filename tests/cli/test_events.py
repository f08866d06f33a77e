"""The command ``events``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.cli.events import PAUSE
from tests.support.apps import Clock, MakeApp

ADA, BEN = "ada@example.com", "ben@example.com"

SignIn = Callable[..., TestResponse]


@pytest.fixture
def app(make_app: MakeApp, sign_in: SignIn, clock: Clock) -> Flask:
    app = make_app(CHATBOTKIT_AUTH_EVENTS=True)
    sign_in(app.test_client(), ADA)
    clock.advance(7200)
    sign_in(app.test_client(), BEN)
    return app


def run(app: Flask, *arguments: str) -> str:
    result = app.test_cli_runner().invoke(args=["chatbotkit-auth", "events", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def found(app: Flask, *arguments: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads(run(app, "--json", *arguments))
    return events


def test_events_are_shown_as_a_log_is_read(app: Flask) -> None:
    lines = run(app).splitlines()
    assert lines[0].split() == ["time", "kind", "outcome", "user", "address", "ip", "device", "detail"]
    assert "2026-01-01 12:00:00  code_sent" in lines[1]
    assert "b•••@example.com" in lines[-1]
    assert ADA not in run(app)


def test_events_are_chosen(app: Flask) -> None:
    everything = found(app)
    assert [each["kind"] for each in everything] == ["code_sent", "user_created", "sign_in"] * 2
    assert {each["address"] for each in found(app, "--email", " Ada@Example.com")} == {"a•••@example.com"}
    assert {each["address"] for each in found(app, "--since", "1h")} == {"b•••@example.com"}
    assert found(app, "--since", "2026-01-01T13:00") == found(app, "--since", "60m")
    assert [each["kind"] for each in found(app, "--kind", "sign_in")] == ["sign_in", "sign_in"]
    user = found(app, "--kind", "sign_in")[0]["user_id"]
    assert {each["user_id"] for each in found(app, "--user", user)} == {user}
    assert found(app, "--limit", "1") == everything[-1:]
    assert "address_key" not in everything[0]
    assert run(app, "--user", "nobody") == "Nothing has happened, as far as is known here.\n"


@pytest.mark.parametrize(
    "arguments", [("--since", "yesterday"), ("--kind", "sign-in"), ("--since", "999999w"), ("--user", ADA)]
)
def test_an_option_that_cannot_be_read_is_told(app: Flask, arguments: tuple[str, str]) -> None:
    result = app.test_cli_runner().invoke(args=["chatbotkit-auth", "events", *arguments])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output


def test_new_events_follow_until_somebody_stops_it(
    app: Flask, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    rounds: list[float] = []

    def wait(seconds: float) -> None:
        if seconds != PAUSE:
            return  # somebody else's
        rounds.append(seconds)
        if len(rounds) > 2:
            raise KeyboardInterrupt
        clock.advance(2)
        # In a thread of its own: here is the context of the command.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(sign_in, app.test_client(), f"new{len(rounds)}@example.com").result()

    monkeypatch.setattr(time, "sleep", wait)
    lines = [json.loads(line) for line in run(app, "--follow", "--json", "--kind", "sign_in").splitlines()]
    assert [each["address"] for each in lines] == [
        "a•••@example.com",
        "b•••@example.com",
        "n•••@example.com",
        "n•••@example.com",
    ]
    assert len({each["id"] for each in lines}) == 4


def test_the_end_of_everybodys_sessions_is_one_event(app: Flask) -> None:
    for _ in range(2):  # the second time there is nothing to end
        result = app.test_cli_runner().invoke(args=["chatbotkit-auth", "sessions", "end", "--all", "--yes"])
        assert result.exit_code == 0, result.output
    (event,) = found(app, "--kind", "sessions_ended")
    assert (event["user_id"], event["detail"]) == (None, {"reason": "ended", "sessions": 2})
