"""A mail server of the tests' own, over real SMTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class MailServer:
    """A real SMTP server that keeps what it takes."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.bytes: list[bytes] = []
        self.options: list[list[str]] = []
        self.recipients: list[list[str]] = []
        self.connections = 0
        self.refusal: str | None = None

    async def handle_EHLO(
        self, server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.connections += 1
        return responses

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        message: Message[str, str] = BytesParser(policy=default).parsebytes(content)
        assert isinstance(message, EmailMessage)
        self.mails.append(message)
        self.bytes.append(content)
        self.options.append(envelope.mail_options)
        self.recipients.append(envelope.rcpt_tos)
        return "250 OK"


@contextmanager
def serving(server: MailServer, **options: Any) -> Iterator[dict[str, Any]]:
    """Let ``server`` listen, and yield the settings of an application that sends its mail there."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    controller = Controller(server, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": port, "MAIL_SUPPRESS_SEND": False}
    finally:
        controller.stop()


def text_of(message: EmailMessage, kind: str) -> str:
    """Return the ``plain`` or the ``html`` text of a mail."""
    body = message.get_body((kind,))
    assert body is not None
    content = body.get_content()
    assert isinstance(content, str)
    return content
