"""Mails: what is written in them, whom they are handed to, and how long that seems to take."""

from __future__ import annotations

import logging
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import formataddr, make_msgid, parseaddr
from typing import Any

import flask_mail
from flask import current_app, render_template, request, url_for

from ..codes import Sender
from ..config import Config
from ..device import device_name
from ..exceptions import ChatBotKitAuthError, MailError
from ..identifier import mask
from ..languages import current_language
from ..user import User
from . import smtp

_log = logging.getLogger("flask_chatbotkit_auth")

Queue = Callable[[flask_mail.Message], object]
"""Takes a finished mail that a job of the application's own is to send with :meth:`Mailer.send`."""


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
                smtp.rehearse(message)
        self._wait_as_usual(start)

    def send(self, message: flask_mail.Message) -> None:
        """Hand a mail to the mail server.

        :raises MailError: the server did not take it, or not in time. The text names no address.
        """
        smtp.send(message)

    def check(self) -> None:
        """Open and close a connection to the mail server.

        :raises MailError: there is none, or it does not answer. The text says which.
        """
        if self._sender() is None:
            if not self._has_server():
                raise _no_server()
            smtp.check()

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
        message = smtp.Mail(
            subject=subject,
            recipients=[identifier],
            body=render_template(f"{path}.txt", **context),
            html=render_template(f"{path}.html", **context),
            sender=self._mail_sender(),
            reply_to=self._config.mail_reply_to,
            # RFC 3834: keeps vacation notices and other robots from answering.
            extra_headers={"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"},
        )
        # Of its own Flask-Mail would name this machine there.
        message.msgId = make_msgid(domain=_domain(str(message.sender)))
        return message

    def _mail_sender(self) -> str:
        sender: Any = self._config.mail_sender or smtp.settings().default_sender
        if isinstance(sender, tuple):
            return formataddr(sender)  # Flask-Mail would join the two without quotes, and a comma end the name
        return sender or f"no-reply@{(current_app.config.get('SERVER_NAME') or 'localhost').partition(':')[0]}"

    def _hand_over(self, message: flask_mail.Message) -> None:
        queue = self._queue()
        if queue is None:
            self.send(message)
        else:
            _call("queue of mails", queue, message)


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


def _domain(sender: str) -> str:
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return "localhost"  # such a sender cannot be sent from either, and that is told when it is tried


def _configured() -> bool:
    return "MAIL_SERVER" in current_app.config or bool(smtp.settings().suppress)


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
