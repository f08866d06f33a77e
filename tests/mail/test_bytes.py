"""The mails as bytes: what a strict reader finds in them, in every language, with long names, lines and addresses."""

from __future__ import annotations

import pickle
import re
import threading
from collections.abc import Callable
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import compat32, default
from email.utils import parseaddr
from typing import Any

import pytest
from flask import Flask
from flask_babel import Babel
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.mail.message import Mail
from flask_chatbotkit_auth.mailbox import Mailbox, parse_mailbox
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import MakeApp
from tests.support.mail import MailServer, text_of

Post = Callable[..., TestResponse]
Server = tuple[MailServer, dict[str, Any]]

LANGUAGES = ["en", "ar", "de", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "tr", "zh"]
LONG = "a" * 64 + "@" + ".".join(["b" * 60] * 3) + ".example"


def parsed(sent: bytes) -> EmailMessage:
    """Read a mail as a strict reader does, and fail at whatever it finds wrong."""
    assert sent.isascii(), "no server needs to offer 8BITMIME"
    assert not {b"\r", b"\n"} & set(re.findall(rb"[\r\n]", sent.replace(b"\r\n", b"")))
    assert max(map(len, sent.split(b"\r\n"))) <= 998
    message = BytesParser(policy=default).parsebytes(sent)
    assert isinstance(message, EmailMessage)
    for name, value in message.items():
        assert value.defects == (), (name, value)
    assert [defect for part in message.walk() for defect in part.defects] == []
    assert message.get_content_type() == "multipart/alternative"
    parts = list(message.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    assert not any(part.is_multipart() for part in parts)
    for line in sent.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        assert line.strip(), "a header has an empty line"
        assert not re.fullmatch(rb"[\w-]+: *", line), "a header has an empty first line"
    return message


def lines_of(message: EmailMessage, kind: str) -> str:
    return text_of(message, kind).replace("\r\n", "\n").rstrip("\n")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_mail_is_read_back_as_it_was_written(
    make_app: MakeApp, chatbotkit_outbox: list[Message], post: Post, chatbotkit_sandbox: Sandbox, language: str
) -> None:
    app = make_app(
        CHATBOTKIT_AUTH_AUTO_CREATE=False,
        CHATBOTKIT_AUTH_UNKNOWN_USER="mail",
        CHATBOTKIT_AUTH_SITE_NAME="Ädas Läden & Söhne",
        CHATBOTKIT_AUTH_MAIL_SENDER="Ädas Läden <hello@shop.example>",
        CHATBOTKIT_AUTH_ORIGIN="https://shop.example",
    )
    Babel(app, locale_selector=lambda: language)
    user = chatbotkit_sandbox.add_user("ada@example.com")
    for email in ("ada@example.com", "nobody@example.com"):
        assert post(app.test_client(), "/auth/sign-in", {"email": email}).status_code == 200
    auth = app.extensions["chatbotkit_auth"]
    with app.test_request_context():
        known = auth.adapter.get(user["id"])
        for kind in ("passkey_added", "passkey_removed", "email_changed", "app_session_added"):
            assert auth.notices.send(kind, known, name="Pixel 9", email="n•••@example.com", device="Chrome")
    assert len(chatbotkit_outbox) == 6
    for mail in chatbotkit_outbox:
        assert isinstance(mail, Mail)
        message = parsed(mail.as_bytes())
        assert message["Subject"] == mail.subject
        (sender,) = message["From"].addresses
        assert (sender.display_name, sender.addr_spec) == ("Ädas Läden", "hello@shop.example")
        body, html = (mail.body or "").rstrip("\n"), (mail.html or "").rstrip("\n")
        assert lines_of(message, "plain") == body
        assert lines_of(message, "html") == html
        direction = "rtl" if language == "ar" else "ltr"
        for tag in re.findall(r"<(?:table|td)\b[^>]*>", str(html)):
            assert 'dir="ltr"' in tag if 'class="code"' in tag else f'dir="{direction}"' in tag, tag


def test_what_is_ascii_is_encoded_nowhere(make_app: MakeApp, chatbotkit_outbox: list[Message], post: Post) -> None:
    # Filters take an encoding that nothing needs for a trick: rspamd's FROM_NEEDS_ENCODING and FROM_EXCESS_QP and others.
    app = make_app(
        CHATBOTKIT_AUTH_MAIL_SENDER='"Shop, Inc." <hello@shop.example>', CHATBOTKIT_AUTH_MAIL_REPLY_TO="A <b@c.example>"
    )
    post(app.test_client(), "/auth/sign-in", {"email": "ada@example.com"})
    sent = chatbotkit_outbox[0].as_bytes()
    parsed(sent)
    assert b"=?" not in sent
    assert b'\r\nFrom: "Shop, Inc." <hello@shop.example>\r\n' in sent
    assert sent.count(b"Content-Transfer-Encoding: 7bit") == 2


@pytest.mark.parametrize("sender", [("Shop, Inc.", "hello@shop.example"), ["Ädas Läden", "hello@shop.example"]])
def test_a_sender_may_be_a_pair_as_in_flask_mail(
    make_app: MakeApp, chatbotkit_outbox: list[Message], post: Post, sender: Any
) -> None:
    app = make_app(CHATBOTKIT_AUTH_MAIL_SENDER=sender, CHATBOTKIT_AUTH_MAIL_REPLY_TO=sender)
    assert post(app.test_client(), "/auth/sign-in", {"email": "ada@example.com"}).status_code == 200
    message = parsed(chatbotkit_outbox[0].as_bytes())
    for header in ("From", "Reply-To"):
        (shown,) = message[header].addresses
        assert [shown.display_name, shown.addr_spec] == list(sender)


@pytest.mark.parametrize(
    "name", ["x" * 400, "x" * 2000, "Ein sehr langer Name " * 20, "Läden " * 60, "a =?utf-8?q?b?= c"]
)
def test_a_long_or_strange_name_reads_as_it_was(name: str) -> None:
    name = name.strip()
    mail = Mail(
        subject=f"123456 {name}",
        recipient=LONG,
        body="x",
        html="<p>x",
        sender=Mailbox(name, LONG),
        reply_to=Mailbox(name, "a@b.example"),
    )
    message = parsed(mail.as_bytes())
    assert message["Subject"] == f"123456 {name}"
    raw = BytesParser(policy=compat32).parsebytes(mail.as_bytes())
    for header in ("From", "Reply-To"):
        # By the older parser: the newer one of Python 3.11 leaves spaces between the encoded words of a name.
        shown = str(make_header(decode_header(raw[header].replace("\r\n", ""))))
        assert parseaddr(shown)[0] == name
    assert message["To"].addresses[0].addr_spec == LONG
    assert parse_mailbox(mail.sender) == Mailbox(name, LONG)


@pytest.mark.parametrize("line", ["x" * 3000, "ä" * 3000, "x\0y", "trailing \t", ".", "From x", "a\rb\r\nc"])
def test_a_line_of_an_own_template_arrives_whole(line: str) -> None:
    mail = Mail(subject="x", recipient="a@b.c", body=line, html=line, sender=Mailbox("", "a@b.c"), reply_to=None)
    message = parsed(mail.as_bytes())
    for kind in ("plain", "html"):
        assert lines_of(message, kind) == line.replace("\r\n", "\n").replace("\r", "\n")


def test_a_mail_is_composed_once_and_anew_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    mail = Mail(subject="one", recipient="a@b.c", body="x", html="x", sender=Mailbox("", "a@b.c"), reply_to=None)
    first = mail.as_bytes()
    assert mail.as_bytes() is first
    again = pickle.loads(pickle.dumps(mail))  # noqa: S301  # as a queue does
    assert parsed(again.as_bytes())["Subject"] == "one"
    mail.subject = "two"
    mail.extra_headers = {"X-Campaign": "none"}
    changed = parsed(mail.as_bytes())
    assert (changed["Subject"], changed["X-Campaign"]) == ("two", "none")


def test_no_mail_asks_the_network_for_this_machines_name(
    make_app: MakeApp, mail_server: Server, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, config = mail_server
    asked: list[str] = []
    ours = threading.current_thread()  # the mail server has one of its own

    def getfqdn(name: str = "") -> str:
        if threading.current_thread() is ours:
            asked.append(name)
        return "slow.example"

    app = make_app(**config)
    monkeypatch.setattr("socket.getfqdn", getfqdn)
    assert post(app.test_client(), "/auth/sign-in", {"email": "ada@example.com"}).status_code == 200
    assert (len(server.mails), asked) == (1, [])
    assert "BODY=8BITMIME" not in server.options[0]


def _html(app: Flask, outbox: list[Message], post: Post, email: str = "ada@example.com") -> str:
    assert post(app.test_client(), "/auth/sign-in", {"email": email}).status_code == 200
    return str(outbox[-1].html)


def test_a_logo_by_path_becomes_a_whole_address_or_is_left_out(
    make_app: MakeApp, chatbotkit_outbox: list[Message], post: Post
) -> None:
    logo = {"CHATBOTKIT_AUTH_LOGO_URL": "/static/logo.png"}
    assert "<img" not in _html(make_app(**logo), chatbotkit_outbox, post)
    known = make_app(**logo, CHATBOTKIT_AUTH_ORIGIN="https://shop.example")
    assert '<img src="https://shop.example/static/logo.png"' in _html(known, chatbotkit_outbox, post)
    data = make_app(
        CHATBOTKIT_AUTH_LOGO_URL="data:image/png;base64,AA==", CHATBOTKIT_AUTH_ORIGIN="https://shop.example"
    )
    assert "<img" not in _html(data, chatbotkit_outbox, post)


def test_the_preview_says_what_the_subject_does_not(
    make_app: MakeApp, chatbotkit_outbox: list[Message], post: Post
) -> None:
    html = _html(make_app(), chatbotkit_outbox, post)
    preview = re.search(r'<div style="display:none[^>]*>([^<]*)<', html)
    assert preview is not None
    assert preview[1].startswith("It works once, for 10 minutes.")
    assert preview[1] not in chatbotkit_outbox[-1].subject


def test_a_code_is_shown_in_two_groups_and_never_translated(
    make_app: MakeApp, chatbotkit_outbox: list[Message], post: Post, mail_code: Callable[..., str]
) -> None:
    html = _html(make_app(), chatbotkit_outbox, post)
    code = mail_code()
    assert f'<span translate="no" style="white-space:nowrap;">{code[:3]} {code[3:]}</span> is your Shop' in html
    assert re.search(r'<td class="code" translate="no"', html)
    assert chatbotkit_outbox[-1].subject.startswith(code)


def test_a_long_address_breaks(make_app: MakeApp, chatbotkit_outbox: list[Message], post: Post) -> None:
    html = _html(make_app(), chatbotkit_outbox, post, "a" * 60 + "@" + "b" * 60 + ".example.com")
    cell = html[: html.index('<bdi dir="ltr">aaa')].rpartition("<td")[2]
    assert "overflow-wrap:anywhere" in cell


def test_context_processors_run_once_a_mail(make_app: MakeApp, chatbotkit_outbox: list[Message], post: Post) -> None:
    app = make_app()
    runs: list[int] = []
    app.context_processor(lambda: runs.append(1) or {})  # type: ignore[func-returns-value]
    post(app.test_client(), "/auth/sign-in", {"email": "ada@example.com"})
    assert (len(chatbotkit_outbox), len(runs)) == (1, 1)


def test_a_sentence_with_markup_is_in_the_text_as_well() -> None:
    # What extracts the sentences for translation knows `_` alone.
    from tests.support.public_api import PACKAGE

    files = list((PACKAGE / "templates" / "chatbotkit_auth" / "mail").iterdir())
    texts = "".join(file.read_text() for file in files)
    marked = re.findall(r'\bmarked\(("[^"]+")', texts)
    assert len(marked) >= 5
    assert [sentence for sentence in marked if not re.search(rf"\b_\({re.escape(sentence)}", texts)] == []
