"""The JSON API, fuzzed from its own document: whatever is sent, only what is declared comes back."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import BaseSchema, Case, GenerationMode, Response
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.testing.plugin import read_code
from flask_chatbotkit_auth.web.openapi.operations import OPERATIONS, Operation
from tests.support.apps import MakeApp
from tests.support.steps import post

ADA = "ada@example.com"
JSON = {"Accept": "application/json"}
FUZZ = settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LIMITS = "CHATBOTKIT_AUTH_RATE_LIMITS"
UNLIMITED = {
    "CHATBOTKIT_AUTH_OPENAPI": True,
    "CHATBOTKIT_AUTH_EMAIL_CHANGE": True,
    "CHATBOTKIT_AUTH_EVENTS": True,
    "CHATBOTKIT_AUTH_MAIL_LINK": True,
    "CHATBOTKIT_AUTH_AUTO_DELETE": True,
    "CHATBOTKIT_AUTH_PASSKEYS": True,
    "CHATBOTKIT_AUTH_APP_SESSIONS": True,
    "CHATBOTKIT_AUTH_ORIGIN": "http://localhost",
    LIMITS: dict.fromkeys(("request:email", "request:ip", "verify:email", "verify:ip", "passkey:ip")),
}
CONFIG: dict[str, Any] = {"generation": {"with-security-parameters": False}}
NOT_OURS: list[CheckFunction] = [
    # What is no text counts as missing, and a code that fits the document need not be the right one.
    negative_data_rejection,
    positive_data_acceptance,
    # The CSRF token is asked for first: who has no cookie gets 403 and not 401.
    ignored_auth,
]

SignIn = Callable[..., TestResponse]

every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=attrgetter("id"))


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app(**UNLIMITED)


@pytest.fixture
def api(app: Flask) -> BaseSchema:
    return schemathesis.openapi.from_wsgi("/auth/openapi.json", app, config=schemathesis.Config.from_dict(CONFIG))


def fuzz(api: BaseSchema, operation: Operation, meet: Callable[[Case[Any]], None]) -> None:
    """Let ``meet`` meet requests of all kinds, such as the document allows and such as it does not."""
    modes: list[Any] = [GenerationMode.POSITIVE]
    if operation.method == "post":
        modes.append(GenerationMode.NEGATIVE)
    for mode in modes:
        cases = api[f"/auth{operation.path}"][operation.method].as_strategy(generation_mode=mode)
        FUZZ(given(cases)(meet))()


def session(client: FlaskClient) -> Any:
    return client.get("/auth/session").get_json()


def call(case: Case[Any], client: Any) -> None:
    headers = {**JSON, "X-CSRFToken": session(client)["csrf_token"]}
    case.call_and_validate(session=client, headers=headers, excluded_checks=NOT_OURS)


@every_operation
def test_by_nobody(operation: Operation, api: BaseSchema, client: FlaskClient) -> None:
    fuzz(api, operation, lambda case: call(case, client))


@pytest.mark.parametrize(
    "operation",
    [each for each in OPERATIONS if each.method == "post" and not each.path.startswith("/app/")],  # apps have no cookie
    ids=attrgetter("id"),
)
def test_without_the_right_token(operation: Operation, api: BaseSchema, client: Any) -> None:
    session(client)

    def meet(case: Case[Any]) -> None:
        answer = case.call_and_validate(session=client, headers=JSON, excluded_checks=NOT_OURS)
        assert answer.json()["error"]["code"] == "csrf"

    fuzz(api, operation, meet)


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.path in ("/verify", "/resend")], ids=attrgetter("id")
)
def test_with_a_code_on_its_way(operation: Operation, api: BaseSchema, app: Flask) -> None:
    def meet(case: Case[Any]) -> None:
        client = app.test_client()
        post(client, "/auth/sign-in", {"email": ADA})
        call(case, client)

    fuzz(api, operation, meet)


@every_operation
def test_by_somebody_signed_in(operation: Operation, api: BaseSchema, client: FlaskClient, sign_in: SignIn) -> None:
    def meet(case: Case[Any]) -> None:
        if session(client)["user"] is None:
            sign_in(client, ADA)
        if operation.id == "deleteAccount":
            post(client, "/auth/account/delete/code", {})
        call(case, client)

    fuzz(api, operation, meet)


def test_in_any_order(make_app: MakeApp, chatbotkit_outbox: list[Message]) -> None:
    """Along the links of the document and across them. Every address is Ada's, and every other code is right.

    Without the capabilities that can be switched on, so that the few steps of a journey lead through all that is left.
    """
    config = {key: UNLIMITED[key] for key in ("CHATBOTKIT_AUTH_OPENAPI", "CHATBOTKIT_AUTH_AUTO_DELETE", LIMITS)}
    schema_of = make_app(**config)
    api = schemathesis.openapi.from_wsgi("/auth/openapi.json", schema_of, config=schemathesis.Config.from_dict(CONFIG))
    answers: set[tuple[str, int]] = set()

    class Journey(api.as_state_machine()):  # type: ignore[misc]  # a class that is made here
        def setup(self) -> None:
            # Of its own, so that the same journey goes the same way again.
            self.client: Any = make_app(**config).test_client()
            self.codes = 0
            chatbotkit_outbox.clear()

        def before_call(self, case: Case[Any]) -> None:
            known = {"email": ADA, "confirm": ADA}
            if isinstance(case.body, dict) and "code" in case.body and chatbotkit_outbox:
                self.codes += 1
                if self.codes % 2 == 0:
                    known["code"] = read_code(chatbotkit_outbox[-1])
            if isinstance(case.body, dict):
                case.body = {name: known.get(name, value) for name, value in case.body.items()}

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
            headers = {**JSON, "X-CSRFToken": session(self.client)["csrf_token"]}
            return {"app": self.client.application, "session": self.client, "headers": headers}

        def validate_response(self, response: Response, case: Case[Any], **_: Any) -> None:
            answers.add((case.operation.definition.raw["operationId"], response.status_code))
            case.validate_response(response, excluded_checks=NOT_OURS)

    Journey.run(settings=settings(FUZZ, max_examples=15, stateful_step_count=12))
    assert {("requestCode", 200), ("verifyCode", 200), ("verifyCode", 400), ("getAccount", 200)} <= answers
