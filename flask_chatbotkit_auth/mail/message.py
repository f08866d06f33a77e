"""A mail as bytes: a plain ``multipart/alternative`` that every mail program and spam filter accepts."""

from __future__ import annotations

import secrets
import time
from binascii import b2a_qp
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime, formataddr, make_msgid
from typing import Any

import flask_mail

from ..identifier import mask
from ..mailbox import Mailbox, parse_mailbox

LINE = 78
"""The most characters that a header line should have (RFC 5322, 2.1.1)."""

MAX_LINE = 998
"""The most octets that a line can have (RFC 5322, 2.1.1)."""


class Mail(flask_mail.Message):
    """A finished mail. It can be pickled, and its ``repr`` shows neither the code nor the address."""

    def __init__(
        self, *, subject: str, recipient: str, body: str, html: str, sender: Mailbox, reply_to: Mailbox | None
    ) -> None:
        # Without Flask-Mail's constructor, which asks the network for the name of this machine, without a time-out.
        self.subject = subject
        self.recipients: list[str | tuple[str, str]] = [recipient]
        self.sender: str = _readable(sender)
        self.reply_to: str | None = _readable(reply_to) if reply_to else None
        self.cc: list[str | tuple[str, str]] = []
        self.bcc: list[str | tuple[str, str]] = []
        self.attachments: list[flask_mail.Attachment] = []
        self.body: str | None = body
        self.alts: dict[str, str] = {"html": html}
        self.date: float = time.time()
        self.msgId: str = make_msgid(domain=sender.domain)
        self.charset: str | None = None
        # RFC 3834: prevents automatic answers, such as vacation notices.
        self.extra_headers: dict[str, str] | None = {
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
        }
        self.mail_options: list[str] = []
        self.rcpt_options: list[str] = []
        self._composed: tuple[object, bytes] | None = None

    def __repr__(self) -> str:
        # Queues log the arguments of their jobs.
        return f"<mail to {', '.join(mask(str(each)) for each in self.recipients)}>"

    __str__ = __repr__

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_composed": None}  # so that a queue does not store everything twice

    def as_bytes(self) -> bytes:
        """Return the bytes of the mail. They are composed once, and again after a change."""
        if self.attachments or self.cc or self.charset or self.alts.keys() != {"html"}:
            return super().as_bytes()  # the application has changed the kind of the mail
        parts = (
            self.subject,
            *self.recipients,
            self.sender,
            self.reply_to,
            self.body,
            self.html,
            self.date,
            self.msgId,
        )
        state = (*parts, *(self.extra_headers or {}).items())
        if self._composed is None or self._composed[0] != state:
            self._composed = (state, self._compose())
        return self._composed[1]

    def as_string(self) -> str:
        return self.as_bytes().decode("ascii", "replace")

    def _compose(self) -> bytes:
        boundary = secrets.token_hex(16)  # 128 random bits, so that no text contains it
        headers = [
            f"Date: {format_datetime(datetime.fromtimestamp(self.date or time.time(), UTC))}",
            _mailbox_header("From", parse_mailbox(self.sender)),
            _folded(f"To: {', '.join(map(str, self.recipients))}"),
            _text_header("Subject", self.subject),
            f"Message-ID: {self.msgId}",
            *([_mailbox_header("Reply-To", parse_mailbox(self.reply_to))] if self.reply_to else ()),
            *(_text_header(name, value) for name, value in (self.extra_headers or {}).items()),
            "MIME-Version: 1.0",
            f'Content-Type: multipart/alternative; boundary="{boundary}"',
        ]
        limit = f"--{boundary}".encode()
        return b"\r\n".join(
            (
                *(header.encode("ascii") for header in headers),
                b"",
                limit,
                _part("plain", self.body or ""),
                limit,
                _part("html", self.html or ""),
                limit + b"--",
                b"",
            )
        )


def _readable(mailbox: Mailbox) -> str:
    """Return the mailbox in the form of Flask-Mail, with its name as plain text."""
    if mailbox.name.isascii():
        return formataddr(mailbox)
    name = mailbox.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{mailbox.address}>'


def _part(subtype: str, text: str) -> bytes:
    # ASCII and short lines for any text, so that no server needs 8BITMIME, and none breaks a line.
    data = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace")
    encoding = "7bit"
    if not data.isascii() or b"\0" in data or max(map(len, data.split(b"\n"))) > MAX_LINE:
        data, encoding = b2a_qp(data, istext=True), "quoted-printable"
    header = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return header.encode() + data.rstrip(b"\n").replace(b"\n", b"\r\n") + b"\r\n"


def _text_header(name: str, text: str) -> str:
    text = " ".join(text.split())
    return _folded(f"{name}: {text}" if _plain(text) else f"{name}: {_encoded(name, text)}")


def _mailbox_header(name: str, mailbox: Mailbox) -> str:
    if _plain(mailbox.name):
        return _folded(f"{name}: {formataddr(mailbox)}")
    return _folded(f"{name}: {_encoded(name, mailbox.name)} <{mailbox.address}>")


def _plain(text: str) -> bool:
    """Return whether a header can contain ``text`` unencoded. Spam filters distrust an encoding that is not needed."""
    return text.isascii() and text.isprintable() and "=?" not in text and max(map(len, text.split(" "))) < MAX_LINE // 2


def _encoded(name: str, text: str) -> str:
    # As encoded words with spaces in between (RFC 2047), 75 characters each at most.
    return " ".join(Header(text, "utf-8", header_name=name, maxlinelen=75).encode().split())


def _folded(line: str) -> str:
    """Break a header at its spaces. The first line always has a word, since some spam filters distrust an empty one."""
    if len(line) <= LINE:
        return line
    name, first, *words = line.split(" ")
    lines = [f"{name} {first}"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > LINE:
            lines.append("")
        lines[-1] += f" {word}"
    return "\r\n".join(lines)
