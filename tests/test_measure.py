"""What takes how long: told by a signal to whoever counts it, and nobody else pays for it."""

from __future__ import annotations

import re
import runpy
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from flask import Flask
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import StoreError, current_auth, measure, signals
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import MakeApp
from tests.support.samples import sample
from tests.support.steps import ADA, ask

SignIn = Callable[..., TestResponse]
METRICS = Path(__file__).parents[1] / "docs" / "metrics.py"

Told = list[tuple[str, str, str]]


@contextmanager
def listening(app: Flask | None = None) -> Iterator[Told]:
    """Collect part, name and outcome of what is measured."""
    told: Told = []

    def hear(_app: object, part: str, name: str, duration: float, outcome: str) -> None:
        assert duration >= 0
        told.append((part, name, outcome))

    with signals.measured.connected_to(hear, app) if app else signals.measured.connected_to(hear):
        yield told


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_sign_in_tells_what_it_did(
    make_app: MakeApp, tmp_path: Path, request: pytest.FixtureRequest, sign_in: SignIn, store: str
) -> None:
    url = f"sqlite:///{tmp_path}/store.db" if store == "sqlite" else request.getfixturevalue("redis_url")
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=url)
    client = app.test_client()
    with listening(app) as told:
        sign_in(client, ADA)
        client.get("/auth/account")
    assert {(part, outcome) for part, _, outcome in told if part != "request"} == {
        ("api", "ok"),
        ("store", "ok"),
        ("mail", "ok"),
    }
    names = {(part, name) for part, name, _ in told}
    assert {("api", "GET /user/list"), ("api", "POST /user/create"), ("store", store), ("mail", "send")} <= names
    assert ("request", "verify_post", "200") in told
    assert ("request", "account", "200") in told
    # Each is one of a few texts, as a metric's labels must be.
    assert all(re.fullmatch(r"[a-zA-Z_/{} ]+", name) for _, name in names)


def test_ids_are_no_part_of_a_name(app: Flask, chatbotkit_sandbox: Sandbox) -> None:
    user = chatbotkit_sandbox.add_user(ADA)
    with listening() as told, app.app_context():
        current_auth.adapter.get(user["id"])
        current_auth.client_for(user["id"]).get("/conversation/list")
    assert [name for _, name, _ in told] == ["GET /user/{id}/fetch", "GET /conversation/list"]


def test_each_attempt_is_told_with_what_came_of_it(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    app = make_app(CHATBOTKIT_API_RETRIES=0, CHATBOTKIT_AUTH_AUTO_CREATE=False)
    client = app.test_client()
    chatbotkit_sandbox.fail("*", status=503)
    with listening(app) as told:
        assert ask(client).status_code == 503
    assert ("request", "sign_in_post", "503") in told
    assert {(part, outcome) for part, _, outcome in told if part == "api"} == {("api", "upstream_unavailable")}


def test_a_store_and_a_sender_that_fail_are_told(make_app: MakeApp) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL="postgresql+psycopg://shop@127.0.0.1:1/shop")
    with listening(app) as told, app.app_context(), pytest.raises(StoreError):
        current_auth.store.ping()
    assert told == [("store", "postgresql", "store_unavailable")]
    other = make_app()

    def fail() -> None:
        raise OSError

    other.extensions["test_auth"].send_verification_request(fail)
    with listening(other) as told:
        assert ask(other.test_client()).status_code == 503
    assert ("mail", "sender of codes", "OSError") in told


def test_a_receiver_may_use_what_is_measured(make_app: MakeApp, tmp_path: Path, sign_in: SignIn) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db")
    heard: list[str] = []

    def hear(_app: object, part: str) -> None:
        heard.append(part)
        current_auth.store.ping()

    with signals.measured.connected_to(hear, app):
        assert sign_in(app.test_client(), ADA).status_code == 200
    assert {"api", "store", "mail", "request"} == set(heard)


def test_a_receiver_that_raises_changes_nothing(app: Flask, sign_in: SignIn) -> None:
    def hear(_app: object) -> None:
        raise OSError

    with signals.measured.connected_to(hear, app):
        assert sign_in(app.test_client(), ADA).status_code == 200


def test_nothing_is_measured_for_nobody() -> None:
    assert not signals.measured.receivers
    assert measure.begin() is None


# The receiver of the documentation


@pytest.fixture
def metrics() -> Iterator[Callable[..., float]]:
    """Run the receiver of the documentation, and return what reads its numbers."""
    events = [each for each in vars(signals).values() if isinstance(each, type(signals.failure))]
    before = {each: set(each.receivers) for each in events}
    module = runpy.run_path(str(METRICS))

    def number(name: str, /, **labels: str) -> float:
        return prometheus_client.REGISTRY.get_sample_value(name, labels) or 0

    yield number
    for collector in (module["EVENTS"], module["SECONDS"]):
        prometheus_client.REGISTRY.unregister(collector)
    for each in events:
        for id, kept in list(each.receivers.items()):
            receiver: Any = kept() if isinstance(kept, weakref.ref) else kept
            if id not in before[each]:
                each.disconnect(receiver)


def test_the_receiver_of_the_documentation_counts(
    metrics: Callable[..., float],
    make_app: MakeApp,
    sign_in: SignIn,
    chatbotkit_sandbox: Sandbox,
    chatbotkit_outbox: list[Message],
) -> None:
    app = make_app(CHATBOTKIT_API_RETRIES=0, CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "2/hour"})
    sign_in(app.test_client(), ADA)
    client = app.test_client()
    for _ in range(3):
        ask(client, "eve@example.com")
    chatbotkit_sandbox.fail("*", status=503)
    assert sign_in(app.test_client(), "bob@example.com").status_code == 503
    count = "chatbotkit_auth_events_total"
    assert metrics(count, event="user-signed-in", reason="code") == 1
    assert metrics(count, event="code-sent", reason="") == len(chatbotkit_outbox) == 4
    assert metrics(count, event="code-failed", reason="rate_limited") == 1
    assert metrics(count, event="limit-reached", reason="request:email") == 1
    assert metrics(count, event="sign-in-failed", reason="upstream_unavailable") == 1
    assert metrics(count, event="failure", reason="upstream_unavailable") == 1
    seconds = "chatbotkit_auth_seconds_count"
    assert metrics(seconds, part="mail", name="send", outcome="ok") == 4
    assert metrics(seconds, part="api", name="GET /user/list", outcome="upstream_unavailable") >= 1
    assert metrics(seconds, part="request", name="verify_post", outcome="503") == 1
    page = prometheus_client.generate_latest().decode().splitlines()
    assert set(sample("metrics-shown").code.splitlines()) <= set(page)


def test_it_is_twenty_lines() -> None:
    lines = METRICS.read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 22
