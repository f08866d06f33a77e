"""Workers of one site, and the browsers that visit it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.testing import Sandbox

ADA = "ada@example.com"
DAY = 86400

SignIn = Callable[..., TestResponse]
Worker = Callable[..., Flask]


def is_in(client: FlaskClient) -> bool:
    """Return whether the browser's person sees a page for signed-in people."""
    return client.get("/dashboard").status_code == 200


def copy_of(client: FlaskClient, app: Flask | None = None) -> FlaskClient:
    """Return another browser that holds a copy of the cookies, at the same worker or at another one."""
    copy = (app or client.application).test_client()
    for name in ("session", "remember_token"):
        if cookie := client.get_cookie(name):
            copy.set_cookie(name, cookie.value)
    return copy


def restarted(client: FlaskClient, app: Flask | None = None) -> FlaskClient:
    """Return the browser after it was closed and opened: cookies without an expiry are gone."""
    copy = copy_of(client, app)
    copy.delete_cookie("session")
    return copy


def fetches(sandbox: Sandbox) -> int:
    """Return how often accounts were fetched by id."""
    return sum(request.path.endswith("/fetch") for request in sandbox.requests)


def auth_of(app: Flask) -> Any:
    """Return the state of an application."""
    return app.extensions["chatbotkit_auth"]
