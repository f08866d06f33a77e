"""What a failure takes back of the limits, and what it does not; and what is signalled when a limit refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask_mail import Message

from flask_chatbotkit_auth import MailError, code_failed, limit_reached
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp
from tests.support.sites import auth_of
from tests.support.steps import ADA, ask, error, resend, verify, wrong

DEAD = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": 1, "MAIL_SUPPRESS_SEND": False}


@pytest.mark.parametrize("auto_create", [True, False])
@pytest.mark.parametrize("email", [ADA, "unknown@example.com"])
def test_a_dead_mail_server_uses_up_nobodys_limit(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, auto_create: bool, email: str
) -> None:
    chatbotkit_sandbox.add_user(ADA)
    app = make_app(
        CHATBOTKIT_AUTH_AUTO_CREATE=auto_create, CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "2/hour"}, **DEAD
    )
    for _ in range(5):
        assert error(ask(app.test_client(), email)) == (503, "mail_unavailable")


def test_what_fails_for_this_address_alone_stays_counted(make_app: MakeApp) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "2/hour"})

    def fail(**_unused: object) -> None:
        raise MailError("no such mailbox")

    app.extensions["test_auth"].send_verification_request(fail)
    assert [ask(app.test_client()).status_code for _ in range(3)] == [503, 503, 429]


def test_an_api_that_is_down_uses_up_nobodys_limit(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    chatbotkit_sandbox.fail("*", status=401)
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "2/hour"})
    for _ in range(5):
        assert error(ask(app.test_client())) == (503, "upstream_unavailable")


@pytest.mark.parametrize("fault", ["mail", "api"])
def test_the_clients_own_count_is_never_given_back(make_app: MakeApp, chatbotkit_sandbox: Sandbox, fault: str) -> None:
    if fault == "api":
        chatbotkit_sandbox.fail("*", status=401)
    app = make_app(
        CHATBOTKIT_AUTH_AUTO_CREATE=fault == "mail",
        CHATBOTKIT_AUTH_RATE_LIMITS={"request:ip": "3/hour"},
        **(DEAD if fault == "mail" else {}),
    )
    assert [ask(app.test_client()).status_code for _ in range(4)] == [503, 503, 503, 429]


def test_each_refusal_is_signalled_with_its_stage(make_app: MakeApp, chatbotkit_outbox: list[Message]) -> None:
    app = make_app(
        CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "2/hour", "verify:email": "2/hour"},
        CHATBOTKIT_AUTH_CODE_ATTEMPTS=9,
    )
    heard: list[tuple[str, str, str, str | None]] = []
    reached: list[tuple[str, str]] = []

    def hear(_app: object, stage: str, identifier: str, error: Any, ip: str, user_agent: str | None) -> None:
        heard.append((stage, error.error_code, identifier, user_agent))
        assert ip == "127.0.0.1"

    def hear_limit(_app: object, limit: str, identifier: str, retry_after: int) -> None:
        reached.append((limit, identifier))
        assert retry_after > 0

    client = app.test_client()
    client.environ_base["HTTP_USER_AGENT"] = "Browser/1"
    with code_failed.connected_to(hear, app), limit_reached.connected_to(hear_limit, app):
        verify(client, "123456")
        ask(client, "nobody")
        ask(client)
        resend(client)
        verify(client, "12")
        wrong = "000000" if read_code(chatbotkit_outbox[0]) != "000000" else "111111"
        for _ in range(4):
            verify(client, wrong)
        ask(client)
        for _ in range(3):
            ask(client)
    assert heard == [
        ("verify", "no_challenge", "", "Browser/1"),
        ("request", "invalid_email", "", "Browser/1"),
        ("request", "rate_limited", ADA, "Browser/1"),
        ("verify", "invalid_code", ADA, "Browser/1"),
        ("verify", "invalid_code", ADA, "Browser/1"),
        ("verify", "invalid_code", ADA, "Browser/1"),
        ("verify", "rate_limited", ADA, "Browser/1"),
        ("verify", "rate_limited", ADA, "Browser/1"),
        ("request", "rate_limited", ADA, "Browser/1"),
        ("request", "rate_limited", ADA, "Browser/1"),
        ("request", "rate_limited", ADA, "Browser/1"),
    ]
    assert reached == [("verify:email", ADA), ("request:email", ADA)]


@pytest.mark.parametrize(
    ("remote", "headers", "said"),
    [
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1"}, 1),
        ("10.0.0.1", {"Forwarded": "for=192.0.2.1"}, 1),
        ("", {}, 1),
        ("unix:", {}, 1),
        ("93.184.215.14", {"X-Forwarded-For": "192.0.2.1"}, 0),
        ("127.0.0.1", {}, 0),
    ],
)
def test_a_worker_that_sees_all_clients_as_one_says_so_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, remote: str, headers: dict[str, str], said: int
) -> None:
    client = make_app().test_client()
    client.environ_base["REMOTE_ADDR"] = remote
    for _ in range(3):
        token = client.get("/auth/session").get_json()["csrf_token"]
        client.post("/auth/sign-in", json={"email": ADA}, headers={"X-CSRFToken": token, **headers})
    assert caplog.text.count("count all of them as") == said


def test_no_connection_is_held_while_a_limit_is_told_of(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(
        CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db",
        CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "2/hour", "verify:email": "1/hour"},
    )
    pool = auth_of(app).store.database.engine.pool
    held = []

    def hear(_app: object, *, limit: str, **_more: object) -> None:
        held.append((limit, pool.checkedout()))

    client = app.test_client()
    with limit_reached.connected_to(hear, app):
        with app.extensions["mail"].record_messages() as outbox:
            assert ask(client).status_code == 200
        for status in (400, 429):
            assert verify(client, wrong(read_code(outbox[-1]))).status_code == status
        ask(app.test_client())
        assert ask(app.test_client()).status_code == 429
    assert held == [("verify:email", 0), ("request:email", 0)]
