"""A hook that is written wrongly is told so, with what to write, and never lets anybody in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import ChatBotKitAuth, ConfigurationError, User
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import MakeApp
from tests.support.steps import ADA

SignIn = Callable[..., TestResponse]
HOOKS = {
    "sign_in_callback": "identifier, user",
    "sign_up_callback": "identifier",
    "new_user_callback": "identifier",
    "provision": "user",
    "delete_callback": "user",
    "session_callback": "session, user",
    "user_callback": "user",
    "queue_mail": "message",
}


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app(CHATBOTKIT_AUTH_AUTO_DELETE=True)


@pytest.fixture
def auth(app: Flask) -> ChatBotKitAuth:
    found: ChatBotKitAuth = app.extensions["test_auth"]
    return found


def test_an_object_whose_call_is_asynchronous_is_waited_for(
    app: Flask, auth: ChatBotKitAuth, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    class Rule:
        async def __call__(self, identifier: str, user: User) -> str:
            return "Not today."

    auth.sign_in_callback(Rule())
    assert sign_in(app.test_client(), ADA).get_json()["error"]["message"] == "Not today."
    assert chatbotkit_sandbox.users == {}


@pytest.mark.parametrize(("hook", "given"), HOOKS.items())
def test_a_hook_that_cannot_be_called_is_told_with_what_it_is(auth: ChatBotKitAuth, hook: str, given: str) -> None:
    def mine() -> None: ...

    with pytest.raises(ConfigurationError, match=rf"@auth.{hook}: mine takes \(\).*called with \({given}\)"):
        getattr(auth, hook)(mine)
    assert getattr(auth, hook)(print) is print


@pytest.mark.parametrize("hook", [*HOOKS, "send_verification_request", "send_notice"])
def test_what_is_no_function_is_refused_and_none_takes_a_hook_away(auth: ChatBotKitAuth, hook: str) -> None:
    with pytest.raises(ConfigurationError, match=f"@auth.{hook} was given an int. Give it a function."):
        getattr(auth, hook)(7)
    getattr(auth, hook)(lambda *values, **named: None)
    getattr(auth, hook)(None)
    hooks = vars(auth._hooks)
    assert set(hooks.values()) == {None}


def test_a_promise_of_an_answer_lets_nobody_in(
    app: Flask, auth: ChatBotKitAuth, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    async def refuse() -> bool:
        return False

    auth.sign_in_callback(lambda *_values: refuse())
    with pytest.raises(TypeError, match=r"auth.sign_in_callback returned a coroutine"):
        sign_in(app.test_client(), ADA)
    assert chatbotkit_sandbox.users == {}


@pytest.mark.parametrize(
    ("hook", "answer", "cure"),
    [
        ("new_user_callback", "free", "Return a dictionary or None"),
        ("session_callback", "free", "Return a dictionary or None"),
        ("user_callback", {"id": "x"}, "Return a Flask-Login user, such as one of a class with UserMixin, or None"),
        ("user_callback", 42, "Return a Flask-Login user"),
    ],
)
def test_an_answer_that_is_none_is_told(
    app: Flask, auth: ChatBotKitAuth, sign_in: SignIn, hook: str, answer: Any, cure: str
) -> None:
    getattr(auth, hook)(lambda *_values: answer)
    client = app.test_client()

    def use() -> None:
        sign_in(client, ADA)
        client.get("/auth/session")

    with pytest.raises(TypeError, match=f"auth.{hook} returned an? {type(answer).__name__}. {cure}"):
        use()


def test_what_provision_cannot_return_is_in_the_log(
    app: Flask, auth: ChatBotKitAuth, sign_in: SignIn, caplog: pytest.LogCaptureFixture
) -> None:
    def mine(user: User) -> Any:
        return "bot"

    auth.provision(mine)
    assert sign_in(app.test_client(), ADA).status_code == 503
    assert "auth.provision returned a str. Return a dictionary or None" in caplog.text
