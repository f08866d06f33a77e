"""The steps of a sign-in over JSON, as a browser takes them."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

ADA = "ada@example.com"


def post(client: FlaskClient, path: str, body: dict[str, Any]) -> TestResponse:
    """Post JSON as a page of ours does, with its CSRF token: the fixture of the same name, for helpers that take none."""
    return client.post(path, json=body, headers={"X-CSRFToken": token(client)})


def token(client: FlaskClient) -> str:
    """Return the CSRF token of a browser."""
    return str(client.get("/auth/session").get_json()["csrf_token"])


def signed_in_as(client: FlaskClient) -> str | None:
    """Return the address of the person who is signed in, or ``None``."""
    user = client.get("/auth/session").get_json()["user"]
    return user and str(user["email"])


def wrong(code: str) -> str:
    """Return a code of the same form that is not ``code``."""
    return ("0" if code[0] != "0" else "1") + code[1:]


def ask(client: FlaskClient, email: object = ADA, **fields: Any) -> TestResponse:
    return post(client, "/auth/sign-in", {"email": email, **fields})


def verify(client: FlaskClient, code: object) -> TestResponse:
    return post(client, "/auth/verify", {"code": code})


def resend(client: FlaskClient) -> TestResponse:
    return post(client, "/auth/resend", {})


def shown(client: FlaskClient, answer: TestResponse) -> TestResponse:
    """Return the page that says what came of a form, as a browser does that follows its redirect."""
    assert answer.status_code == 303
    return client.get(answer.location)


def error(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["error"]["code"]
