"""Flask's tutorial before and after the extension: one story, told on both, and what each of them has to bring for it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.testing import Sandbox
from tests.beside import flaskr, flaskr_before

SignIn = Callable[..., TestResponse]
PEOPLE = ("ada@example.com", "eve@example.com")


class Blog(NamedTuple):
    """An application, and the ways in and out of it."""

    app: Flask
    come_in: Callable[[FlaskClient, str], object]
    post: Callable[..., TestResponse]
    sign_in_path: str
    sign_out_path: str


@pytest.fixture(params=["before", "after"])
def blog(
    request: pytest.FixtureRequest, tmp_path: Path, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> Iterator[Blog]:
    if request.param == "before":
        yield Blog(
            flaskr_before.create_app(tmp_path, {"TESTING": True}), _register, _post, "/auth/login", "/auth/logout"
        )
        return
    config = {
        "TESTING": True,
        "CHATBOTKIT_API_SECRET": "sk-test",
        "CHATBOTKIT_API_URL": chatbotkit_sandbox.url,
        "CHATBOTKIT_AUTH_AUTO_CREATE": True,
    }
    app = flaskr.create_app(tmp_path, config)
    yield Blog(app, sign_in, _post_with_token, "/auth/sign-in", "/auth/sign-out")
    app.extensions["chatbotkit_auth"].store.close()


def _register(client: FlaskClient, name: str) -> None:
    form = {"username": name, "password": "correct horse"}
    assert client.post("/auth/register", data=form).location == "/auth/login"
    assert client.post("/auth/login", data=form).location == "/"


def _post(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    return client.post(path, data=fields)


def _post_with_token(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    return client.post(path, data={**fields, "csrf_token": client.get("/auth/session").get_json()["csrf_token"]})


def test_the_story_of_the_tutorial(blog: Blog) -> None:
    ada, eve = (blog.app.test_client() for _ in PEOPLE)
    assert blog.post(ada, "/create", title="t", body="b").location.startswith(blog.sign_in_path)
    for client, name in zip((ada, eve), PEOPLE, strict=True):
        blog.come_in(client, name)
    assert blog.post(ada, "/create", title="Notes", body="on the engine").location == "/"
    assert ada.get("/").text == "Notes by ada@example.com"
    assert blog.post(eve, "/1/update", title="Mine", body="now").status_code == 403
    assert blog.post(eve, "/1/delete").status_code == 403
    assert blog.post(ada, "/2/delete").status_code == 404
    assert blog.post(ada, "/1/update", title="More notes", body="…").location == "/"
    assert eve.get("/").text == "More notes by ada@example.com"
    assert blog.post(ada, "/1/delete").location == "/"
    assert ada.get("/").text == "Nothing yet."
    assert blog.post(ada, blog.sign_out_path).status_code in (302, 303)
    assert blog.post(ada, "/create", title="t", body="b").location.startswith(blog.sign_in_path)
    assert blog.post(eve, "/create", title="Hers", body="b").location == "/"


def _statements(module: ModuleType) -> int:
    source: Any = Path(str(module.__file__)).read_text(encoding="utf-8")
    return sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(source)))


def test_after_there_is_less_to_write_and_no_password_to_keep() -> None:
    assert _statements(flaskr) < _statements(flaskr_before) * 0.8
    assert "password" not in flaskr.SCHEMA
    assert "CREATE TABLE user" not in flaskr.SCHEMA
