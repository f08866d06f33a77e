"""The steps of a sign-in over JSON, as a browser takes them."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.testing.plugin import _post

ADA = "ada@example.com"


def ask(client: FlaskClient, email: object = ADA, **fields: Any) -> TestResponse:
    return _post(client, "/auth/sign-in", "/auth", {"email": email, **fields})


def verify(client: FlaskClient, code: object) -> TestResponse:
    return _post(client, "/auth/verify", "/auth", {"code": code})


def resend(client: FlaskClient) -> TestResponse:
    return _post(client, "/auth/resend", "/auth", {})


def shown(client: FlaskClient, answer: TestResponse) -> TestResponse:
    """Return the page that says what came of a form, as a browser does that follows its redirect."""
    assert answer.status_code == 303
    return client.get(answer.location)


def error(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["error"]["code"]
