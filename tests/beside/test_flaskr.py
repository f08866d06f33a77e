"""Flask's tutorial with the extension in place of its ``auth`` blueprint: its own tests, and what it did not have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.testing import Sandbox
from tests.beside.flaskr import create_app

SignIn = Callable[..., TestResponse]


@pytest.fixture
def app(tmp_path: Path, chatbotkit_sandbox: Sandbox) -> Iterator[Flask]:
    app = create_app(
        tmp_path / "instance",
        {
            "TESTING": True,
            "CHATBOTKIT_API_SECRET": "sk-test",
            "CHATBOTKIT_API_URL": chatbotkit_sandbox.url,
            "CHATBOTKIT_AUTH_AUTO_CREATE": True,
        },
    )
    yield app
    app.extensions["chatbotkit_auth"].store.close()


def post(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    token = client.get("/auth/session").get_json()["csrf_token"]
    return client.post(path, data={"csrf_token": token, **fields})


@pytest.mark.parametrize("path", ["/create", "/1/update", "/1/delete"])
def test_whoever_is_not_signed_in_is_sent_to_sign_in(app: Flask, path: str) -> None:
    answer = post(app.test_client(), path, title="t", body="b")
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/auth/sign-in")


def test_an_author_writes_changes_and_deletes_and_nobody_else_does(app: Flask, sign_in: SignIn) -> None:
    ada, eve = app.test_client(), app.test_client()
    sign_in(ada, "ada@example.com")
    sign_in(eve, "eve@example.com")
    assert post(ada, "/create", title="Notes", body="on the engine").status_code == 302
    assert ada.get("/").text == "Notes by ada@example.com"
    assert post(eve, "/1/update", title="Mine", body="now").status_code == 403
    assert post(eve, "/1/delete").status_code == 403
    assert post(ada, "/2/delete").status_code == 404
    assert post(ada, "/1/update", title="More notes", body="…").status_code == 302
    assert ada.get("/").text == "More notes by ada@example.com"
    assert post(ada, "/1/delete").status_code == 302
    assert ada.get("/").text == "Nothing yet."


def test_a_form_without_a_token_changes_nothing(app: Flask, sign_in: SignIn) -> None:
    client = app.test_client()
    sign_in(client, "ada@example.com")
    assert client.post("/create", data={"title": "t", "body": "b"}).status_code == 400
    assert client.get("/").text == "Nothing yet."


def test_signing_out_ends_it(app: Flask, sign_in: SignIn) -> None:
    client = app.test_client()
    sign_in(client, "ada@example.com")
    assert post(client, "/auth/sign-out").status_code == 303
    assert post(client, "/create", title="t", body="b").headers["Location"].startswith("/auth/sign-in")
