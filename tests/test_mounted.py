"""An application below a path of its host: by a dispatcher beside another application, or behind a proxy that says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from conftest import MakeApp
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.testing.plugin import read_code

ADA = "ada@example.com"
Mount = Callable[..., FlaskClient]


@pytest.fixture
def mount(make_app: MakeApp) -> Mount:
    """Mount an application at ``/shop`` beside one that has the rest of the host, and give a browser of that host."""

    def mount(**config: Any) -> FlaskClient:
        host = Flask("host")
        host.wsgi_app = DispatcherMiddleware(host.wsgi_app, {"/shop": make_app(**config)})  # type: ignore[method-assign]
        return host.test_client()

    return mount


def submit(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    """Send a form to the application at ``/shop``."""
    token = client.get("/shop/auth/session").get_json()["csrf_token"]
    return client.post(f"/shop{path}", data={"csrf_token": token, **fields})


def ask(client: FlaskClient, outbox: list[Message], **fields: str) -> str:
    """Ask for a code, and give it."""
    assert submit(client, "/auth/sign-in", email=ADA, **fields).location == "/shop/auth/verify"
    return read_code(outbox[-1])


def came_from(answer: TestResponse) -> str:
    """Return the ``next`` of an answer that leads to the sign-in page."""
    path, _, query = answer.location.partition("?")
    assert path == "/shop/auth/sign-in"
    return parse_qs(query)["next"][0]


def test_who_opens_the_account_page_comes_back_to_it(mount: Mount, chatbotkit_outbox: list[Message]) -> None:
    client = mount()
    back = "/shop/auth/account?done=saved"
    assert came_from(client.get(back)) == back
    assert came_from(submit(client, "/auth/account/profile")) == "/shop/auth/account"
    code = ask(client, chatbotkit_outbox, next=back)
    assert submit(client, "/auth/verify", code=code).location == back
    assert client.get(back).status_code == 200


def test_who_opens_a_page_of_the_application_comes_back_to_it(mount: Mount, chatbotkit_outbox: list[Message]) -> None:
    client = mount()
    assert came_from(client.get("/shop/dashboard")) == "/shop/dashboard"
    code = ask(client, chatbotkit_outbox, next="/shop/dashboard")
    assert submit(client, "/auth/verify", code=code).location == "/shop/dashboard"
    assert client.get("/shop/dashboard").text == f"Hello {ADA}"
