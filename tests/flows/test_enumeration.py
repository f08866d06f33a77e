"""Who has an account shows in no answer: the same status, text, headers and cookies for everybody, at every step.

How long the answers take is measured by ``python -m benchmarks.enumeration``; clocks have no place in a test.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import Clock, MakeApp
from tests.support.mail import MailServer, serving

# Of one length and with one first letter, which is all that an answer may tell of an address.
EXISTING, UNKNOWN, DELETED, DENIED = (f"a{name}@example.com" for name in ("present", "unknown", "deleted", "refused"))
PEOPLE = (EXISTING, UNKNOWN, DELETED, DENIED)

Form = Callable[[FlaskClient, str, dict[str, str]], TestResponse]


def _html(client: FlaskClient, path: str, fields: dict[str, str]) -> TestResponse:
    token = client.get("/auth/session").get_json()["csrf_token"]
    answer = client.post(path, data={**fields, "csrf_token": token})
    return client.get(answer.location) if "m=" in answer.location else answer


def _json(client: FlaskClient, path: str, fields: dict[str, str]) -> TestResponse:
    token = client.get("/auth/session").get_json()["csrf_token"]
    return client.post(path, json=fields, headers={"X-CSRFToken": token})


def _seen(answer: TestResponse, email: str) -> tuple[Any, ...]:
    """Return all of an answer but what differs for one person, too: the form's token, the cookie's value, the address."""
    local = re.escape(email.partition("@")[0])
    text = re.sub(r'(name="csrf_token" value=|"csrf_token":)"[^"]*"', r"\1", answer.text)
    text = re.sub(rf"{local}(<wbr>)?@", "@", text)
    headers = [
        (name, re.sub(r"=[^;]*", "", value, count=1) if name == "Set-Cookie" else value)
        for name, value in answer.headers
        if name != "Content-Length"
    ]
    return answer.status_code, text, headers


def _story(client: FlaskClient, clock: Clock, post: Form, email: str) -> list[tuple[Any, ...]]:
    """Do everything that can be done without the code; return what is seen of it."""
    start = clock.now
    answers = [post(client, "/auth/sign-in", {"email": email, "next": "/dashboard"}), client.get("/auth/verify")]
    answers += [post(client, "/auth/verify", {"code": "zzzzzz"}), post(client, "/auth/verify", {"code": ""})]
    answers.append(post(client, "/auth/resend", {}))
    for _ in range(4):
        clock.advance(30)
        answers.append(post(client, "/auth/resend", {}))
    answers.append(client.get("/auth/verify"))
    answers += [post(client, "/auth/verify", {"code": "zzzzzz"}) for _ in range(5)]
    answers += [post(client, "/auth/resend", {}), client.get("/auth/verify"), client.get("/auth/session")]
    answers += [post(client, "/auth/sign-in", {"email": email}) for _ in range(2)]
    clock.advance(600)
    answers += [post(client, "/auth/verify", {"code": "zzzzzz"}), post(client, "/auth/resend", {})]
    clock.freeze(start)
    return [_seen(answer, email) for answer in answers]


@pytest.mark.parametrize(
    ("kind", "outage"), [("partner", "none"), ("contact", "none"), ("partner", "mail"), ("contact", "api")]
)
@pytest.mark.parametrize("mode", ["silent", "mail"])
@pytest.mark.parametrize("post", [_html, _json])
def test_every_answer_is_the_same_for_everybody(
    make_app: MakeApp,
    clock: Clock,
    chatbotkit_sandbox: Sandbox,
    chatbotkit_outbox: list[Message],
    kind: str,
    mode: str,
    post: Form,
    outage: str,
) -> None:
    broken = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": 1, "MAIL_SUPPRESS_SEND": False} if outage == "mail" else {}
    app = make_app(
        CHATBOTKIT_AUTH_ADAPTER=kind,
        CHATBOTKIT_AUTH_AUTO_CREATE=False,
        CHATBOTKIT_AUTH_UNKNOWN_USER=mode,
        CHATBOTKIT_API_RETRIES=0,
        # Counted for each address alone, as here all come from one client.
        CHATBOTKIT_AUTH_RATE_LIMITS={"request:ip": None, "verify:ip": None},
        **broken,
    )
    app.extensions["test_auth"].sign_in_callback(lambda identifier, user: identifier != DENIED)
    for email in PEOPLE:
        if email != UNKNOWN:
            chatbotkit_sandbox.add_user(email)
            chatbotkit_sandbox.add_contact(email, meta={"email": email}, verifiedAt=1)
    for records in (chatbotkit_sandbox.users, chatbotkit_sandbox.contacts):
        for key, record in list(records.items()):
            if record["email"] == DELETED:
                del records[key]
    if outage == "api":
        chatbotkit_sandbox.fail("*", status=401)
    stories = {email: _story(app.test_client(), clock, post, email) for email in PEOPLE}
    for email in (UNKNOWN, DELETED, DENIED):
        assert stories[email] == stories[EXISTING], email
    assert len(stories[EXISTING]) > 15
    if outage == "none":
        told = {recipient for mail in chatbotkit_outbox for recipient in mail.recipients}
        assert told == ({EXISTING, DENIED} if mode == "silent" else set(PEOPLE))


@pytest.mark.parametrize("mode", ["silent", "mail"])
@pytest.mark.parametrize("how", ["refuses", "hangs up"])
def test_a_server_that_refuses_the_mail_itself_tells_nobody_who_has_an_account(
    make_app: MakeApp,
    chatbotkit_sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    mode: str,
    how: str,
) -> None:
    class Full(MailServer):
        async def handle_DATA(self, server: SMTP, _session: Session, _envelope: Envelope) -> str:
            if how == "hangs up" and server.transport:
                server.transport.close()
            return "552 over quota"

    with serving(Full()) as config:
        app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, CHATBOTKIT_AUTH_UNKNOWN_USER=mode, **config)
        chatbotkit_sandbox.add_user(EXISTING)
        answers = {}
        for email in (EXISTING, UNKNOWN):
            client = app.test_client()
            asked = _json(client, "/auth/sign-in", {"email": email})
            again = _json(client, "/auth/resend", {})
            answers[email] = [_seen(asked, email), _seen(again, email), _seen(client.get("/auth/verify"), email)]
    assert answers[EXISTING] == answers[UNKNOWN]
    told = any(each.levelname == "ERROR" and "no code sent" in each.getMessage() for each in caplog.records)
    assert told == (mode == "silent"), "with a mail to everybody the answer says it"
    # Where everybody may have an account it tells nothing, and the person is told.
    with serving(Full()) as config:
        assert _json(make_app(**config).test_client(), "/auth/sign-in", {"email": EXISTING}).status_code == 503
