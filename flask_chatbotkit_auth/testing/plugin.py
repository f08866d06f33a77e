"""Pytest fixtures for an application's own tests of its sign-in; pytest finds them by itself once this is installed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from .sandbox import Sandbox

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from flask_mail import Message
    from werkzeug.test import TestResponse


@pytest.fixture
def chatbotkit_sandbox() -> Iterator[Sandbox]:
    """A stand-in of the ChatBotKit API on a port of its own; set ``CHATBOTKIT_API_URL`` to its ``url``."""
    with Sandbox(secret="sk-test") as sandbox:  # noqa: S106  # opens nothing but this sandbox
        yield sandbox


@pytest.fixture
def chatbotkit_outbox() -> Iterator[list[Message]]:
    """Every mail that any application sends through Flask-Mail while the test runs, oldest first."""
    with _recorded() as outbox:
        yield outbox


@pytest.fixture
def sign_in() -> Callable[..., TestResponse]:
    """Sign a Flask test client in as a person does: address, mail, code.

    ``sign_in(client, "ada@example.com")`` returns the answer to the code, with ``{"user": …, "redirect": …}`` as its
    JSON. The application must send its codes with our mail, and ``TESTING`` (or ``MAIL_SUPPRESS_SEND``) be on, or a mail
    server there. ``prefix`` is its ``CHATBOTKIT_AUTH_URL_PREFIX``.
    """

    def sign_in(client: FlaskClient, email: str, *, prefix: str = "/auth") -> TestResponse:
        with _recorded() as outbox:
            requested = _post(client, f"{prefix}/sign-in", prefix, {"email": email})
            assert requested.status_code == 200, requested.get_json()  # noqa: S101  # pytest explains it
        assert outbox, f"no code was mailed to {email}: is there an account, or is auto create on?"  # noqa: S101
        return _post(client, f"{prefix}/verify", prefix, {"code": read_code(outbox[-1])})

    return sign_in


def read_code(message: Message) -> str:
    """Return the code of a mail of ours, which stands alone on a line of its text."""
    found = re.search(r"^ +(\S+)$", message.body or "", re.MULTILINE)
    if found is None:
        raise ValueError("this mail holds no code of ours")
    return found.group(1)


def _post(client: FlaskClient, path: str, prefix: str, body: dict[str, Any]) -> TestResponse:
    token = client.get(f"{prefix}/session").get_json()["csrf_token"]
    return client.post(path, json=body, headers={"X-CSRFToken": token})


@contextmanager
def _recorded() -> Iterator[list[Message]]:
    from flask_mail import email_dispatched

    outbox: list[Message] = []

    def record(_app: object, message: Message) -> None:
        outbox.append(message)

    with email_dispatched.connected_to(record):
        yield outbox
