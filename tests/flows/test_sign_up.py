"""``sign_up_callback``: for which addresses an account may be made, and that nobody learns who has one."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask_mail import Message

from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp
from tests.support.steps import ADA, ask, error, resend, verify


@pytest.fixture
def invited(app: Flask) -> set[str]:
    """The addresses that may have an account."""
    invited: set[str] = set()
    app.extensions["test_auth"].sign_up_callback(lambda identifier: identifier in invited)
    return invited


def test_an_invited_person_gets_an_account_without_a_look_up(
    app: Flask, invited: set[str], chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message]
) -> None:
    invited.add(ADA)
    client = app.test_client()
    ask(client)
    assert chatbotkit_sandbox.requests == []
    assert verify(client, read_code(chatbotkit_outbox[0])).status_code == 200
    assert len(chatbotkit_sandbox.users) == 1


def test_who_is_not_invited_gets_no_code_and_no_account(
    app: Flask, invited: set[str], chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message]
) -> None:
    client = app.test_client()
    assert ask(client).status_code == 200
    assert len(chatbotkit_sandbox.requests) == 1
    assert chatbotkit_outbox == []
    assert chatbotkit_sandbox.users == {}


@pytest.mark.parametrize("answer", [False, None, "", "Only for staff"])
def test_a_sentence_refuses_as_well_as_false(
    app: Flask, chatbotkit_outbox: list[Message], answer: str | bool | None
) -> None:
    app.extensions["test_auth"].sign_up_callback(lambda identifier: answer)
    assert ask(app.test_client()).status_code == 200
    assert chatbotkit_outbox == []


def test_who_has_an_account_gets_a_code_all_the_same(
    app: Flask, invited: set[str], chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message]
) -> None:
    chatbotkit_sandbox.add_user(ADA)
    client = app.test_client()
    ask(client)
    assert verify(client, read_code(chatbotkit_outbox[0])).status_code == 200


def test_an_invitation_that_is_withdrawn_meanwhile_makes_no_account(
    app: Flask, invited: set[str], chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message]
) -> None:
    invited.add(ADA)
    client = app.test_client()
    ask(client)
    invited.clear()
    assert error(verify(client, read_code(chatbotkit_outbox[0]))) == (403, "sign_up_disabled")
    assert chatbotkit_sandbox.users == {}


def test_with_auto_create_off_nobody_can_be_invited(
    make_app: MakeApp, chatbotkit_outbox: list[Message], chatbotkit_sandbox: Sandbox
) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False)
    app.extensions["test_auth"].sign_up_callback(lambda identifier: True)
    ask(app.test_client())
    assert chatbotkit_outbox == []


def test_the_answers_are_the_same_for_everybody(app: Flask, invited: set[str], chatbotkit_sandbox: Sandbox) -> None:
    chatbotkit_sandbox.add_user("anna@example.com")
    seen: list[Any] = []
    for email in ("anna@example.com", "alan@example.com"):
        client = app.test_client()
        answers = [ask(client, email), verify(client, "zzzzzz"), resend(client)]
        seen.append([(each.status_code, each.text) for each in answers])
    assert seen[0] == seen[1]
