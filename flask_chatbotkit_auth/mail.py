"""Mails: what is written in them, how they are handed over, and how long that seems to take."""

from __future__ import annotations

import logging
import random
import secrets
import smtplib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from email.policy import Compat32
from email.utils import make_msgid, parseaddr
from typing import cast

import flask_mail
from flask import current_app, render_template, request, url_for

from .config import Config
from .device import device_name
from .exceptions import ChatBotKitAuthError, MailError
from .identifier import mask
from .languages import current_language
from .provider import Sender
from .user import User

_log = logging.getLogger("flask_chatbotkit_auth")

Queue = Callable[[flask_mail.Message], object]
"""Takes a finished mail that a job of the application's own is to send with :meth:`Mailer.send`."""

TIMEOUT = 10
"""Seconds that a mail server may take for one step before the mail counts as not sent."""


class Mailer:
    """Hands codes over: to the application's own sender where it has one, else to the mail server.

    :param sender: returns the application's own sender, if any, at the time of sending.
    :param queue: returns the application's own queue of mails, if any, at the time of sending.
    :param clock: returns the time now, aware, in UTC.
    """

    def __init__(
        self,
        config: Config,
        sender: Callable[[], Sender | None],
        queue: Callable[[], Queue | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._sender = sender
        self._queue = queue
        self._clock = clock
        self._durations: deque[float] = deque(maxlen=64)

    def send_code(self, identifier: str, code: str, expires_at: datetime, user: User | None) -> None:
        """Send a code to the address that asked for it.

        :raises MailError: it could not be handed over. The code is in no log and no exception.
        """
        start = time.perf_counter()
        sender = self._sender()
        if sender is not None:
            _call("sender of codes", sender, identifier, code, expires_at, user)
        elif not self._has_server():
            _print_code(identifier, code, _minutes(expires_at - self._clock()))
        else:
            self._hand_over(self._code_message(identifier, code, expires_at))
        self._durations.append(time.perf_counter() - start)

    def send_unknown(self, identifier: str) -> None:
        """Tell the owner of an address that somebody asked to sign in with it, and that it has no account.

        It goes by our mail alone. An application that has its own sender and no mail server tells nobody; the answer takes
        as long as one with a code then.

        :raises MailError: it could not be handed over.
        """
        start = time.perf_counter()
        if self._sender() is not None and not _configured():
            self._wait_as_usual(start)
        elif self._has_server():
            self._hand_over(self._message("unknown", identifier))
        else:
            _log.info("no account for %s; without a mail server its owner is not told", mask(identifier))

    def pretend(self, identifier: str, code: str, expires_at: datetime) -> None:
        """Do everything that :meth:`send_code` does but send, and take as long as that took lately.

        Where nobody may learn which addresses have an account, the answer for one without must look, cost and fail like
        the answer for one with.

        :raises MailError: the mail server does not answer, so that a mail could not have been sent either.
        """
        start = time.perf_counter()
        if self._sender() is None and self._has_server():
            message = self._code_message(identifier, code, expires_at)
            if self._queue() is None:
                with _connection() as connection:
                    _rehearse(connection, message, identifier)
        self._wait_as_usual(start)

    def send(self, message: flask_mail.Message) -> None:
        """Hand a mail to the mail server.

        :raises MailError: the server did not take it, or not within :data:`TIMEOUT`. The text names no address.
        """
        with _connection() as connection:
            try:
                connection.send(message)
            except (OSError, smtplib.SMTPException, flask_mail.BadHeaderError) as error:
                raise _mail_error(error) from None

    def check(self) -> None:
        """Open and close a connection to the mail server.

        :raises MailError: there is none, or it does not answer. The text says which.
        """
        if self._sender() is None:
            if not self._has_server():
                raise _no_server()
            with _connection():
                pass

    def _wait_as_usual(self, start: float) -> None:
        if self._durations:
            # One of the last real ones, not their mean: a spread is part of how it looks.
            usual = random.choice(self._durations)  # noqa: S311  # no secret
            time.sleep(max(0.0, usual - (time.perf_counter() - start)))

    def _has_server(self) -> bool:
        if _configured():
            return True
        if not current_app.debug:
            raise _no_server()
        return False

    def _code_message(self, identifier: str, code: str, expires_at: datetime) -> flask_mail.Message:
        half = (len(code) + 1) // 2
        return self._message(
            "code",
            identifier,
            code=code,
            code_display=f"{code[:half]} {code[half:]}" if len(code) > 4 else code,
            minutes=_minutes(expires_at - self._clock()),
        )

    def _message(self, template: str, identifier: str, **context: object) -> flask_mail.Message:
        language = current_language()
        context.update(
            site_name=site_name(self._config),
            logo_url=self._config.logo_url,
            color=self._config.mail_color,
            email=identifier,
            device=device_name(request.user_agent.string, language) if request else None,
            requested_at=self._clock(),
            sign_in_url=_sign_in_url(),
            language=language,
            _=language.gettext,
            ngettext=language.ngettext,
        )
        path = f"chatbotkit_auth/mail/{template}"
        subject = " ".join(render_template(f"{path}.subject.txt", **context).split())
        message = _Message(
            subject=subject,
            recipients=[identifier],
            body=render_template(f"{path}.txt", **context),
            html=render_template(f"{path}.html", **context),
            sender=self._config.mail_sender or _state().default_sender or _default_sender(self._config),
            reply_to=self._config.mail_reply_to,
            # RFC 3834: keeps vacation notices and other robots from answering.
            extra_headers={"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"},
        )
        # Of its own Flask-Mail would name this machine there.
        message.msgId = make_msgid(domain=_domain(str(message.sender)))
        return message

    def _hand_over(self, message: flask_mail.Message) -> None:
        queue = self._queue()
        if queue is None:
            self.send(message)
        else:
            _call("queue of mails", queue, message)


@contextmanager
def _connection() -> Iterator[flask_mail.Connection]:
    connection = _Connection(cast(flask_mail.Mail, _state()))
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


class _Message(flask_mail.Message):
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


def _rehearse(connection: flask_mail.Connection, message: flask_mail.Message, recipient: str) -> None:
    """Begin to hand ``message`` over as a real one is, and take it back before there is anything to deliver.

    The recipient is named, since many a server says only then that it takes no mail now, or none for this one.
    """
    if connection.host is not None:
        try:
            connection.host.ehlo_or_helo_if_needed()
            for code, answer in (
                connection.host.mail(parseaddr(str(message.sender))[1]),
                connection.host.rcpt(recipient),
            ):
                if code not in (250, 251):
                    raise smtplib.SMTPResponseException(code, answer)
            connection.host.rset()
        except (OSError, smtplib.SMTPException) as error:
            raise _mail_error(error) from None


def site_name(config: Config) -> str:
    """Return the product's name for pages and mails."""
    return config.site_name or current_app.name


def _call(what: str, callback: Callable[..., object], *arguments: object) -> None:
    try:
        callback(*arguments)
    except ChatBotKitAuthError:
        raise
    except Exception as error:  # noqa: BLE001  # the application's own code: anything may come
        # No traceback: its frames hold the code.
        _log.error("the application's %s failed with %s", what, type(error).__name__)
        raise MailError(f"the application's {what} failed with {type(error).__name__}") from None


def _state() -> flask_mail._Mail:
    state: flask_mail._Mail = current_app.extensions["mail"]
    return state


def _default_sender(config: Config) -> str:
    host = (current_app.config.get("SERVER_NAME") or "localhost").partition(":")[0]
    return f"no-reply@{host}"


def _domain(sender: str) -> str:
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    return domain if domain.isascii() else domain.encode("idna").decode()


def _configured() -> bool:
    return "MAIL_SERVER" in current_app.config or bool(_state().suppress)


def _sign_in_url() -> str | None:
    # Without a name that somebody vouches for the host is whatever the client wrote into its request, and must not get into
    # a mail. With `host_matching` it is that in spite of SERVER_NAME. Only Flask 3.1 and later check TRUSTED_HOSTS; they
    # hand them to the request, and refused it before if its host is not among them.
    named = current_app.config.get("SERVER_NAME") and not current_app.url_map.host_matching
    if named or request.trusted_hosts:
        return url_for("chatbotkit_auth.sign_in", _external=True)
    return None


def _minutes(duration: timedelta) -> int:
    return max(1, round(duration.total_seconds() / 60))


def _print_code(identifier: str, code: str, minutes: int) -> None:
    line = "─" * 64
    print(  # noqa: T201  # the console is where the developer looks
        f"\n{line}\n  Sign-in code for {identifier}:  {code}\n  (no MAIL_SERVER is set, so it is shown here; valid for "
        f"{minutes} minutes)\n{line}\n",
        file=sys.stderr,
        flush=True,
    )


def _no_server() -> MailError:
    return MailError(
        "no mail server: set MAIL_SERVER (and MAIL_PORT, MAIL_USERNAME, MAIL_PASSWORD as it needs), or send codes "
        "yourself with @auth.send_verification_request. In debug mode codes are printed to the console instead."
    )


def _mail_error(error: Exception) -> MailError:
    # Only what kind it is: the text of an SMTP error may quote the address.
    code = getattr(error, "smtp_code", None)
    return MailError(
        f"the mail server {current_app.config.get('MAIL_SERVER', 'of this application')} did not take the mail "
        f"({type(error).__name__}{f' {code}' if code else ''}); check MAIL_SERVER, MAIL_PORT and its credentials"
    )
