"""Requests of a test client to the JSON endpoints, as a front end sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse


def url_prefix(client: FlaskClient, prefix: str | None = None) -> str:
    """Return ``prefix``, or else the ``CHATBOTKIT_AUTH_URL_PREFIX`` of the client's application."""
    if prefix is not None:
        return prefix
    state = client.application.extensions.get("chatbotkit_auth")
    return "/auth" if state is None else str(state.config.url_prefix)


def csrf_token(client: FlaskClient, prefix: str | None = None) -> str:
    """Return the CSRF token from ``GET /auth/session``."""
    return str(client.get(f"{url_prefix(client, prefix)}/session").get_json()["csrf_token"])


def post_json(
    client: FlaskClient, path: str, body: dict[str, Any], *, prefix: str | None = None, token: str | None = None
) -> TestResponse:
    """Post JSON with a CSRF token, by default a new one.

    As a browser does, the request says that it comes from a page of the same origin. Otherwise it would need a ``Referer``
    over HTTPS.
    """
    headers = {"X-CSRFToken": token or csrf_token(client, prefix), "Sec-Fetch-Site": "same-origin"}
    return client.post(path, json=body, headers=headers)
