"""What a mail is about shows in it, and who has an account shows in no answer, whatever sends the mails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask_babel import Babel
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.mail.verification import VerificationRequest
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import MakeApp

Post = Callable[..., TestResponse]
PEOPLE = ("ada@example.com", "nobody@example.com")


@pytest.mark.parametrize(
    ("purpose", "words"),
    [
        ("sign_in", "is your Shop sign-in code"),
        ("deletion", "is your code to delete your Shop account"),
        ("address", "is your code to change your Shop email address"),
    ],
)
def test_a_mail_says_what_its_code_is_for(
    make_app: MakeApp, chatbotkit_outbox: list[Message], mail_code: Callable[..., str], purpose: str, words: str
) -> None:
    app = make_app(CHATBOTKIT_AUTH_ORIGIN="https://shop.example")
    auth = app.extensions["chatbotkit_auth"]
    about = VerificationRequest(
        identifier="ada@example.com",
        code="012345",
        expires_at=auth.clock(),
        purpose=purpose,
        url="https://shop.example/l",
    )
    with app.test_request_context():
        auth.mailer.send_code(about)
    (mail,) = chatbotkit_outbox
    assert mail.subject == f"012345 {words}"
    assert mail_code() == mail_code("ada@example.com") == mail_code(mail) == "012345"
    for text in (str(mail.body), str(mail.html)):
        assert words in text
        assert "https://shop.example/l" in text
        assert "Don&#39;t share it. Nobody from Shop will ever ask for it." in text or "Don't share it." in text
        assert ("sign-in" in text) == (purpose == "sign_in")
    assert "012345" not in repr(about)
    assert "ada@" not in repr(about)


@pytest.mark.parametrize("language", ["en", "de", "ja", "ar"])
def test_the_mail_about_deleting_an_account_says_so(
    make_app: MakeApp,
    chatbotkit_outbox: list[Message],
    post: Post,
    sign_in: Callable[..., TestResponse],
    language: str,
) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_DELETE=True)
    Babel(app, locale_selector=lambda: language)
    client = app.test_client()
    assert sign_in(client, "ada@example.com").status_code == 200
    assert post(client, "/auth/account/delete/code").status_code == 200
    signing_in, deleting = chatbotkit_outbox
    assert signing_in.subject.split()[1:] != deleting.subject.split()[1:]
    if language == "en":
        assert "is your code to delete your Shop account" in deleting.subject


def test_mail_code_says_what_is_missing(chatbotkit_outbox: list[Message], mail_code: Callable[..., str]) -> None:
    with pytest.raises(ValueError, match="no mail was sent to ada@"):
        mail_code("ada@example.com")


def _answers(app: Any, post: Post, sandbox: Sandbox) -> list[tuple[int, Any]]:
    sandbox.add_user(PEOPLE[0])
    answers = [post(app.test_client(), "/auth/sign-in", {"email": email}) for email in PEOPLE]
    return [(answer.status_code, answer.get_json()["challenge"]["resend_in"]) for answer in answers]


@pytest.mark.parametrize("unknown", ["silent", "mail"])
@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("port", [1, None], ids=["no mail server answers", "mail server"])
def test_an_own_sender_answers_alike_for_everybody(
    make_app: MakeApp, post: Post, chatbotkit_sandbox: Sandbox, unknown: str, raises: bool, port: int | None
) -> None:
    server = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": port, "MAIL_SUPPRESS_SEND": False} if port else {}
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, CHATBOTKIT_AUTH_UNKNOWN_USER=unknown, **server)
    sent: list[str] = []

    @app.extensions["test_auth"].send_verification_request  # type: ignore[untyped-decorator]
    def send(identifier: str) -> None:
        sent.append(identifier)
        if raises:
            raise RuntimeError("not today")

    known, nobody = _answers(app, post, chatbotkit_sandbox)
    assert known == nobody == (200, 30)
    assert sent == [PEOPLE[0]]


@pytest.mark.parametrize("unknown", ["silent", "mail"])
def test_a_queue_that_fails_answers_alike_for_everybody(
    make_app: MakeApp, post: Post, chatbotkit_sandbox: Sandbox, caplog: pytest.LogCaptureFixture, unknown: str
) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, CHATBOTKIT_AUTH_UNKNOWN_USER=unknown)

    def full(_message: Message) -> None:
        raise RuntimeError("no room")

    app.extensions["test_auth"].queue_mail(full)
    known, nobody = _answers(app, post, chatbotkit_sandbox)
    assert known == nobody == (200, 30)
    assert "queue of mails failed with RuntimeError" in caplog.text
