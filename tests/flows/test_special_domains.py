"""Addresses under ``.local``, ``.test`` and the like: taken as configured, and by default in debug mode and in tests."""

from __future__ import annotations

import pytest
from flask_mail import Message

from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp
from tests.support.steps import ask, error, verify

HER = "ada@mail.corp.local"


@pytest.mark.parametrize("kind", ["partner", "contact"])
def test_a_closed_network_signs_in(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message], kind: str
) -> None:
    app = make_app(
        TESTING=False, MAIL_SUPPRESS_SEND=True, CHATBOTKIT_AUTH_SPECIAL_DOMAINS=True, CHATBOTKIT_AUTH_ADAPTER=kind
    )
    for _ in range(2):
        client = app.test_client()
        assert ask(client, "Ada@Mail.Corp.Local").status_code == 200
        answer = verify(client, read_code(chatbotkit_outbox[-1]))
        assert answer.get_json()["user"]["email"] == HER
    assert len(chatbotkit_sandbox.users) + len(chatbotkit_sandbox.contacts) == 1


@pytest.mark.parametrize(
    ("config", "status"),
    [
        ({"TESTING": False, "MAIL_SUPPRESS_SEND": True}, 400),
        ({"TESTING": True}, 200),
        ({"TESTING": False, "DEBUG": True, "MAIL_SUPPRESS_SEND": True}, 200),
        ({"TESTING": True, "CHATBOTKIT_AUTH_SPECIAL_DOMAINS": False}, 400),
    ],
)
def test_by_default_they_are_for_developers(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, config: dict[str, bool], status: int
) -> None:
    app = make_app(**config)
    for _ in range(2):
        answer = ask(app.test_client(), HER)
        assert answer.status_code == status
    if status == 400:
        assert error(answer) == (400, "invalid_email")
    assert caplog.text.count("refused in production") == (1 if status == 200 else 0)
