"""The way to the mail server: a mail as bytes, a connection that gives up in time, and a rehearsal of sending."""

from __future__ import annotations

import secrets
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.policy import Compat32
from typing import cast

import flask_mail
from flask import current_app

from ..exceptions import MailError
from ..identifier import mask

TIMEOUT = 10
"""Seconds that a mail server may take for one step before the mail counts as not sent."""

# The last is what a sender whose domain has no IDNA form comes to.
_FAILURES = (OSError, smtplib.SMTPException, flask_mail.BadHeaderError, UnicodeError)


def send(message: flask_mail.Message) -> None:
    """Hand a mail to the mail server.

    :raises MailError: the server did not take it, or not within :data:`TIMEOUT`. The text names no address.
    """
    with _connection() as connection:
        try:
            connection.send(message)
        except _FAILURES as error:
            raise _mail_error(error) from None


def rehearse(message: flask_mail.Message) -> None:
    """Begin to hand ``message`` over as :func:`send` does, and take it back before there is anything to deliver.

    The recipient is named, since many a server says only then that it takes no mail now, or none for this one.

    :raises MailError: as :func:`send`.
    """
    with _connection() as connection:
        try:
            if message.has_bad_headers():
                raise flask_mail.BadHeaderError
            sender = flask_mail.sanitize_address(message.sender)
            (recipient,) = message.send_to
            if connection.host is not None:
                connection.host.ehlo_or_helo_if_needed()
                for code, answer in (connection.host.mail(sender), connection.host.rcpt(str(recipient))):
                    if code not in (250, 251):
                        raise smtplib.SMTPResponseException(code, answer)
                connection.host.rset()
        except _FAILURES as error:
            raise _mail_error(error) from None


def check() -> None:
    """Open and close a connection to the mail server.

    :raises MailError: it does not answer.
    """
    with _connection():
        pass


def settings() -> flask_mail._Mail:
    """Return what Flask-Mail has read of the application's configuration."""
    state: flask_mail._Mail = current_app.extensions["mail"]
    return state


class Mail(flask_mail.Message):
    """A finished mail of ours. It can be pickled, and what prints it learns neither its code nor its address."""

    def __repr__(self) -> str:
        # Queues log and show the arguments of their jobs.
        return f"<mail to {', '.join(mask(str(each)) for each in self.recipients)}>"

    __str__ = __repr__

    def as_bytes(self) -> bytes:
        message = self._message()
        # Its headers are ASCII by now. The policy that Flask-Mail hands the message over with would parse them again at
        # every look, and take more of the server than any other part of a sign-in.
        message.policy = _AS_IT_IS
        for part in message.walk():
            if part.is_multipart():
                # 128 random bits, so that no text holds it. The generator would look for one that the texts do not hold,
                # with a pattern that it compiles anew for each mail.
                part.set_boundary(secrets.token_hex(16))
        return message.as_bytes()


class _Policy(Compat32):
    def fold_binary(self, name: str, value: str) -> bytes:
        # Most headers fit on a line and need no encoding; to find that out takes longer than all the rest of the mail.
        line = f"{name}: {value}"
        if len(line) <= 78 and line.isascii() and line.isprintable():
            return f"{line}{self.linesep}".encode()
        return super().fold_binary(name, value)


_AS_IT_IS = _Policy(linesep="\r\n")


@contextmanager
def _connection() -> Iterator[flask_mail.Connection]:
    connection = _Connection(cast(flask_mail.Mail, settings()))
    try:
        connection.__enter__()
    except (OSError, smtplib.SMTPException) as error:
        raise _mail_error(error) from None
    try:
        yield connection
    finally:
        if connection.host is not None:
            # A server that hangs up without a farewell has taken the mail all the same.
            with suppress(OSError, smtplib.SMTPException):
                connection.host.quit()
            connection.host.close()


class _Connection(flask_mail.Connection):
    def configure_host(self) -> smtplib.SMTP | smtplib.SMTP_SSL:
        # As Flask-Mail does it, but with a time-out: without one a server that hangs holds the worker for ever.
        mail = self.mail
        factory = smtplib.SMTP_SSL if mail.use_ssl else smtplib.SMTP
        host = factory(mail.server, mail.port, timeout=TIMEOUT)
        try:
            host.set_debuglevel(int(mail.debug))
            if mail.use_tls:
                host.starttls()
            if mail.username and mail.password:
                host.login(mail.username, mail.password)
        except BaseException:
            host.close()
            raise
        return host


def _mail_error(error: Exception) -> MailError:
    # Only what kind it is: the text of an SMTP error may quote the address.
    code = getattr(error, "smtp_code", None)
    return MailError(
        f"the mail server {current_app.config.get('MAIL_SERVER', 'of this application')} did not take the mail "
        f"({type(error).__name__}{f' {code}' if code else ''}); check MAIL_SERVER, MAIL_PORT, its credentials and the sender"
    )
