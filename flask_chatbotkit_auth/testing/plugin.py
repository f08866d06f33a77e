"""Pytest fixtures for an application's own tests of its sign-in. Pytest finds them once the package is installed.

They are for tests only: nothing in the package imports this module, and no request over a network can do what ``signed_in``
does.
"""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, request, request_started
from flask_mail import email_dispatched

from .. import clock
from ..flows import sign_in as flows
from ..identifier import normalize_identifier
from ..state import current_auth
from ..stores import Challenge
from .client import csrf_token, post_json, url_prefix
from .clock import Clock
from .sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from flask_mail import Message
    from werkzeug.test import TestResponse

    from ..user import User

_MARK = "flask_chatbotkit_auth.testing"


@pytest.fixture
def chatbotkit_sandbox() -> Iterator[Sandbox]:
    """A sandbox of the ChatBotKit API on a free port. Set ``CHATBOTKIT_API_URL`` to its ``url``."""
    with Sandbox(secret="sk-test") as sandbox:  # noqa: S106  # opens nothing but this sandbox
        yield sandbox


@pytest.fixture
def chatbotkit_outbox() -> Iterator[list[Message]]:
    """Every mail that an application sends through Flask-Mail during the test, oldest first."""
    with _recorded() as outbox:
        yield outbox


@pytest.fixture
def chatbotkit_clock() -> Iterator[Clock]:
    """The clock of the whole package. It stands still from the beginning of the test.

    Codes, sessions, the refresh of users and the windows of rate limits use it in every application of this process, as does
    ``current_auth.clock()``. It does not stop other clocks: those of Redis and Memcached (which count their own windows), of
    Flask's cookies, of network time-outs and of the sandbox.
    """
    from limits import storage  # noqa: F401  # loads the modules whose time is meant below

    frozen = Clock()
    # A patch of its own: a test that undoes its `monkeypatch` keeps the clock.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "_now", frozen)
        for name, module in tuple(sys.modules.items()):
            if name.startswith("limits.") and hasattr(module, "time"):
                patch.setattr(module, "time", SimpleNamespace(time=lambda: frozen.now.timestamp()))
        yield frozen


@pytest.fixture
def post() -> Callable[..., TestResponse]:
    """Post JSON as a front end does, with the CSRF token from ``GET /auth/session``.

    ``post(client, "/auth/sign-in", {"email": "ada@example.com"})`` returns the answer. ``prefix`` is by default the
    application's ``CHATBOTKIT_AUTH_URL_PREFIX``.
    """

    def post(
        client: FlaskClient, path: str, body: dict[str, Any] | None = None, *, prefix: str | None = None
    ) -> TestResponse:
        return post_json(client, path, body or {}, prefix=prefix)

    return post


@pytest.fixture
def mail_code(chatbotkit_outbox: list[Message]) -> Callable[..., str]:
    """Read the code in an email of ours.

    ``mail_code()`` reads the newest email of the test, ``mail_code("ada@example.com")`` the newest to that address, and
    ``mail_code(message)`` the one that you pass. It raises ``ValueError`` if there is no such email, or no code in it.
    """

    def mail_code(wanted: str | Message | None = None) -> str:
        if wanted is not None and not isinstance(wanted, str):
            return read_code(wanted)
        for message in reversed(chatbotkit_outbox):
            if wanted is None or wanted in message.recipients:
                return read_code(message)
        raise ValueError("no mail was sent" + (f" to {wanted}" if wanted else ""))

    return mail_code


@pytest.fixture
def sign_in() -> Callable[..., TestResponse]:
    """Sign a Flask test client in as a person does: address, email, code.

    ``sign_in(client, "ada@example.com")`` returns the response to the code, with ``{"user": …, "redirect": …}`` as its
    JSON. The application must send its codes in our email, with ``TESTING`` or ``MAIL_SUPPRESS_SEND`` on, or a mail server
    running. ``prefix`` is by default its ``CHATBOTKIT_AUTH_URL_PREFIX``.
    """

    def sign_in(client: FlaskClient, email: str, *, prefix: str | None = None) -> TestResponse:
        prefix = url_prefix(client, prefix)
        with _recorded() as outbox:
            token = csrf_token(client, prefix)
            requested = post_json(client, f"{prefix}/sign-in", {"email": email}, token=token)
            assert requested.status_code == 200, _refusal(requested)  # noqa: S101  # pytest explains it
        assert outbox, f"no code was mailed to {email}: is there an account, or is auto create on?"  # noqa: S101
        return post_json(client, f"{prefix}/verify", {"code": read_code(outbox[-1])}, token=token)

    return sign_in


def _refusal(answer: TestResponse) -> str:
    body = str(answer.get_json())
    return f"{body} Set TESTING=True before init_app, so that no mail server is needed." if "mail_" in body else body


@pytest.fixture
def signed_in() -> Callable[..., User]:
    """Sign a Flask test client in directly, for a test about something else: no email, no code, no limit.

    ``signed_in(client, "ada@example.com")`` returns the :class:`~flask_chatbotkit_auth.User`. Everything else is as after a
    sign-in: the session is in the application's store, its cookies are in the client, the hooks were called, and
    ``user_signed_in`` was sent. An address without an account gets one first, even while auto create is off. ``name``,
    ``image`` and ``meta`` change the account, as :meth:`UserAdapter.update <flask_chatbotkit_auth.UserAdapter.update>` does.

    It raises what a sign-in raises: ``InvalidEmail``, ``SignInDenied`` if a hook refuses, ``APIError``, ``StoreError``.
    """

    def signed_in(client: FlaskClient, email: str, **fields: Any) -> User:
        app, mark = client.application, object()
        user: Future[User] = Future()

        def enter(_app: Flask, **_unused: Any) -> None:
            # A server in the same process may receive another request meanwhile. No request from a network can hold this
            # object.
            if request.environ.get(_MARK) is mark:
                try:
                    user.set_result(_enter(email, fields))
                except Exception as error:  # noqa: BLE001  # not for the application's error pages, but for the test
                    user.set_exception(error)

        path = f"{url_prefix(client)}/session"
        # In a request of the client itself, so that it receives the cookies.
        with request_started.connected_to(enter, app):
            answer = client.get(path, environ_overrides={_MARK: mark})
        assert user.done(), f"{path} answered {answer.status} before Flask was asked: which middleware does?"  # noqa: S101
        return user.result()

    return signed_in


def read_code(message: Message) -> str:
    """Return the code in an email of ours. It is alone on an indented line of the text.

    :raises ValueError: there is no code.
    """
    found = re.search(r"^ +(\S+(?: \S+)?)$", message.body or "", re.MULTILINE)
    if found is None:
        raise ValueError("this mail holds no code: keep it alone on an indented line of chatbotkit_auth/mail/code.txt")
    return found.group(1).replace(" ", "")


def _enter(email: str, fields: dict[str, Any]) -> User:
    """Sign this request's browser in by the last step of the flow, which needs a verified challenge."""
    auth, identifier = current_auth, normalize_identifier(email, special_domains=True)
    found = auth.adapter.get_by_email(identifier) or auth.adapter.sign_up(identifier, {})[0]
    if fields:
        auth.admin.update(found.id, **fields)  # so that other browsers see it too
    now = auth.clock()
    challenge = Challenge(secrets.token_hex(16), identifier, sent_at=now, expires_at=now + auth.provider.lifetime)
    digest = secrets.token_hex(32)  # the digest of no code
    auth.store.add_challenge(challenge, digest)
    auth.store.try_code(challenge.id, [digest], now=now, max_attempts=auth.provider.attempts)
    return flows.complete_sign_in(challenge)


@contextmanager
def _recorded() -> Iterator[list[Message]]:
    outbox: list[Message] = []

    def record(_app: object, message: Message) -> None:
        outbox.append(message)

    with email_dispatched.connected_to(record):
        yield outbox
