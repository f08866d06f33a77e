"""Hands mails to the mail server, with a checked certificate and one deadline; or only rehearses it."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parseaddr
from functools import lru_cache
from typing import Any

import flask_mail
from flask import Flask

from ..exceptions import ConfigurationError, MailError
from ..mailbox import parse_mailbox
from ..measure import measured
from ..proxies import running_app
from ..signals import emit
from .connection import Host

TIMEOUT = 15
"""The time limit in seconds for handing over one mail, from the connection to the last answer."""

BAD_SENDER = (
    "the sender of mails is not one address: check CHATBOTKIT_AUTH_MAIL_SENDER or MAIL_DEFAULT_SENDER. A name with a comma "
    "or another special character goes in quotes"
)

_PLAIN = re.compile(r"[\w!#$%&'*+/=?^`{|}~.-]+@[\w.-]+", re.ASCII)
"""Matches an address that needs no parsing, which takes as long as several commands to the server."""

_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL

_TOO_LARGE = 552  # of RFC 1870, which some servers answer as soon as they hear the sender

FAREWELL = 1
"""Seconds for the answer to QUIT, after the server has accepted the mail."""


_SETTINGS: Mapping[str, Callable[[str], Any]] = {
    "SERVER": str,
    "PORT": int,
    "USERNAME": str,
    "PASSWORD": str,
    "DEFAULT_SENDER": str,
    "USE_TLS": lambda value: value.strip().lower() in ("1", "true", "yes", "on"),
    "USE_SSL": lambda value: value.strip().lower() in ("1", "true", "yes", "on"),
}


def prepare(app: Flask, mail: flask_mail.Mail | None, environment: Mapping[str, str]) -> None:
    """Set up Flask-Mail for ``app`` if it has none. Settings that ``app`` does not have are read from the environment.

    :raises ConfigurationError: ``MAIL_PORT`` in the environment is not a number.
    """
    found = {}
    for name, parse in _SETTINGS.items():
        value = environment.get(f"MAIL_{name}")
        if value and app.config.get(f"MAIL_{name}") is None:
            try:
                found[name] = app.config[f"MAIL_{name}"] = parse(value)
            except ValueError:
                raise ConfigurationError(f"MAIL_{name} in the environment is {value!r}: give a whole number.") from None
    if "mail" not in app.extensions:
        (mail or flask_mail.Mail()).init_app(app)
        return
    for name, value in found.items():  # Flask-Mail has already read its settings
        setattr(app.extensions["mail"], name.lower(), value)


class Undelivered(Exception):
    """The cause of a ``MailError``: the server accepted sender and recipient, but then not the mail.

    A rehearsal does not get that far.
    """


def send(message: flask_mail.Message) -> None:
    """Hand a mail to the mail server.

    :raises MailError: the server did not accept it within :data:`TIMEOUT`. The text contains no address. Its cause is
        :exc:`Undelivered` if the recipient was accepted.
    """
    begun: list[Host] = []
    try:
        with measured("mail", "send"), _failures():
            if message.has_bad_headers():
                raise flask_mail.BadHeaderError
            sender = parse_mailbox(message.sender)
            if not settings().suppress:
                with _connection(sender.domain) as host:
                    begun.append(host)
                    to = [_bare(each) for each in message.send_to]
                    host.sendmail(sender.address, to, message.as_bytes(), message.mail_options, message.rcpt_options)
    except MailError as error:
        if begun and begun[0].named:
            raise MailError(str(error), for_everybody=error.for_everybody) from Undelivered()
        raise
    emit(flask_mail.email_dispatched, running_app(), message=message)


def rehearse(message: flask_mail.Message) -> None:
    """Begin to hand over ``message`` as :func:`send` does, and cancel before the mail itself is sent.

    The recipient is named, since many servers only then say that they accept no mail now, or none for this recipient.

    :raises MailError: as :func:`send`.
    """
    with measured("mail", "rehearse"), _failures():
        mailbox = parse_mailbox(message.sender)
        (recipient,) = map(str, message.recipients)
        message.as_bytes()
        if not settings().suppress:
            with _connection(mailbox.domain) as host:
                _begin(host, mailbox.address)
                code, answer = host.rcpt(recipient)
                if code not in (250, 251):
                    raise smtplib.SMTPRecipientsRefused({recipient: (code, answer)})
                host.rset()


def check(sender: str) -> None:
    """Connect, log in and name the sender, as for a mail, but without a recipient.

    :raises MailError: the server does not answer, its certificate is wrong, or it refuses the login or the sender.
    """
    with _failures():
        mailbox = parse_mailbox(sender)
        if not settings().suppress:
            with _connection(mailbox.domain) as host:
                _begin(host, mailbox.address)
                host.rset()


def settings() -> flask_mail._Mail:
    """Return the settings that Flask-Mail has read from the application's configuration."""
    state: flask_mail._Mail = running_app().extensions["mail"]
    return state


def verifies() -> bool:
    """Return whether the mail server's certificate is checked."""
    return bool(running_app().extensions["chatbotkit_auth"].config.mail_tls_verify)


@lru_cache(maxsize=2)
def _context(verify: bool) -> ssl.SSLContext:
    # Cached, since reading the system's certificates takes longer than a whole sign-in.
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _connection(sender_domain: str) -> Iterator[Host]:
    mail = settings()
    context = _context(verifies()) if mail.use_ssl or mail.use_tls else None
    host = Host(mail.server, mail.port, TIMEOUT, _own_name(sender_domain), context if mail.use_ssl else None)
    try:
        host.set_debuglevel(int(mail.debug))
        if mail.use_tls and not mail.use_ssl:
            host.starttls(context=context)
        if mail.username and mail.password:
            host.login(mail.username, mail.password)
        yield host
        host.hurry(FAREWELL)
        # A server that closes the connection instead of answering QUIT has accepted the mail.
        with suppress(OSError, smtplib.SMTPException):
            host.quit()
    finally:
        host.close()


def _bare(recipient: str | tuple[str, str]) -> str:
    """Return a recipient as it is named to the server."""
    if isinstance(recipient, str) and _PLAIN.fullmatch(recipient):
        return recipient
    return parseaddr(flask_mail.sanitize_address(recipient))[1]


def _begin(host: Host, sender: str) -> None:
    host.ehlo_or_helo_if_needed()
    code, answer = host.mail(sender)
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, answer, sender)


def _own_name(sender_domain: str) -> str:
    # `socket.getfqdn` would use the network, without a time-out.
    name = socket.gethostname()
    return name if "." in name and name.isascii() else sender_domain if "." in sender_domain else "[127.0.0.1]"


@contextmanager
def _failures() -> Iterator[None]:
    """Turn every exception that a mail server, its address or a setting can cause into a :exc:`MailError`."""
    start = time.monotonic()
    try:
        yield
    except flask_mail.BadHeaderError:
        raise MailError("a header of the mail has a line break") from None
    except (OSError, smtplib.SMTPException, UnicodeError, ValueError, OverflowError, TypeError) as error:
        late = time.monotonic() - start >= TIMEOUT
        raise MailError(_why(error, late), for_everybody=_concerns_everybody(error)) from None


def _concerns_everybody(error: Exception) -> bool:
    return not isinstance(error, smtplib.SMTPRecipientsRefused | smtplib.SMTPDataError)


def _why(error: Exception, late: bool) -> str:
    """Return the cause and the cure. The server's own text is not quoted, since it may contain the address."""
    server = f"the mail server {settings().server}"
    if late or isinstance(error, TimeoutError):
        return (
            f"{server} did not answer in time ({TIMEOUT} seconds); check MAIL_SERVER and MAIL_PORT, and MAIL_USE_SSL, which "
            "port 465 needs"
        )
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code == _EXPIRED:
        return f"the certificate of {server} has expired; have it renewed, or set this machine's clock"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {server} is not trusted ({error.verify_message}); set MAIL_SERVER to the name in it. For a "
            "relay on this machine, CHATBOTKIT_AUTH_MAIL_TLS_VERIFY=False switches the check off"
        )
    if isinstance(error, ssl.SSLError):
        return f"{server} does not speak TLS on this port; check MAIL_PORT, MAIL_USE_TLS (587) and MAIL_USE_SSL (465)"
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"{server} has no address; check MAIL_SERVER"
    code = _code(error)
    if code == -1:
        return f"{server} does not speak SMTP on this port; check MAIL_SERVER and MAIL_PORT"
    if 400 <= code < 500:
        return (
            f"{server} does not take the mail now ({code}), and may in a moment; the log of this MAIL_SERVER says why"
        )
    if code == 530:
        return f"{server} wants a login or TLS first (530); check MAIL_USERNAME, MAIL_PASSWORD and MAIL_USE_TLS"
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"{server} refused the login ({code}); check MAIL_USERNAME and MAIL_PASSWORD"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return f"{server} does not offer what is asked for (STARTTLS or a login); check MAIL_USE_TLS and MAIL_USERNAME"
    if isinstance(error, smtplib.SMTPSenderRefused) and code != _TOO_LARGE:
        return f"{server} refused the sender ({code}); check CHATBOTKIT_AUTH_MAIL_SENDER"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"{server} refused the recipient ({code}); check that this MAIL_SERVER relays mail for your application"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{server} did not take the mail ({code}); the log of this MAIL_SERVER says why"
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return f"{server} closed the connection before it took the mail; its log says why, or check MAIL_SERVER and MAIL_PORT"
    if isinstance(error, ValueError):
        return BAD_SENDER
    return f"{server} cannot be reached ({type(error).__name__}); check MAIL_SERVER and MAIL_PORT"


def _code(error: Exception) -> int:
    """Return the code of the server's answer: -1 if the answer has none, 0 if there is no answer."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return int(next(iter(error.recipients.values()), (0, b""))[0])
    return error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else 0
