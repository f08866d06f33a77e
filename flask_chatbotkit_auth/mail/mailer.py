"""Whom a mail is handed to: the application's own sender or queue, the mail server, or the console while developing."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import flask_mail
from flask import current_app

from ..config import Config
from ..exceptions import ChatBotKitAuthError, MailError
from ..identifier import mask
from ..languages import Language, current_language
from ..measure import measured
from . import smtp
from .compose import compose, sender, site_name
from .message import Mail
from .verification import VerificationRequest

_log = logging.getLogger("flask_chatbotkit_auth")

Sender = Callable[..., object]
"""Sends a code itself. Takes keywords: ``identifier``, ``code``, ``expires_at``, ``user`` and ``url``."""

Queue = Callable[[flask_mail.Message], object]
"""Takes a finished mail that a job of the application's own is to send with :meth:`Mailer.send`."""


class Mailer:
    """Hands codes and other mails over.

    :param sender: returns the application's own sender of codes, if any, at the time of sending.
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

    @property
    def hands_over(self) -> bool:
        """Whether codes go to a sender or a queue of the application's own, which cannot be rehearsed."""
        return self._sender() is not None or self._queue() is not None

    @property
    def site_name(self) -> str:
        """The product's name, as mails say it."""
        return site_name(self._config)

    def send_code(self, request: VerificationRequest) -> None:
        """Send a code to the address that asked for it.

        :raises MailError: it could not be handed over. The code is in no log and no exception.
        """
        own = self._sender()
        if own is not None:
            _call(
                "sender of codes",
                own,
                identifier=request.identifier,
                code=request.code,
                expires_at=request.expires_at,
                user=request.user,
                url=request.url,
            )
        elif self.has_server():
            self._hand_over(self._code_message(request))
        else:
            _print_code(request, _minutes(request.expires_at - self._clock()))

    def send_unknown(self, identifier: str) -> None:
        """Tell the owner of an address that somebody asked to sign in with it, and that it has no account.

        It goes by our mail alone. Where codes go another way, its failure is only logged: an answer about it would tell
        that there is no account.

        :raises MailError: it could not be handed over.
        """
        own = self._sender() is not None
        if not configured() and (own or current_app.debug):
            _log.info("no account for %s; without a mail server its owner is not told", mask(identifier))
            return
        try:
            self.has_server()
            self._hand_over(self.message("unknown", identifier, current_language()))
        except MailError as error:
            if not own:
                raise
            _log.error("the owner of %s was not told that there is no account: %s", mask(identifier), error)

    def rehearse(self, request: VerificationRequest) -> None:
        """Do what :meth:`send_code` does, as far as it can be taken back: the mail server is asked, and nothing is sent.

        Where nobody may learn which addresses have an account, the answer for one without must cost and fail like that for
        one with. The mail is composed, since its templates may touch the browser's session. A sender or a queue of the
        application's own is not called.

        :raises MailError: a mail to this address could not have been sent.
        """
        if self._sender() is None and self.has_server():
            message = self._code_message(request)
            if self._queue() is None:
                smtp.rehearse(message)

    def rehearse_unknown(self, identifier: str) -> None:
        """Take about as long as :meth:`send_unknown`, where codes go by a sender of the application's own.

        Its failure is as silent. Where codes go by our mail, :meth:`send_code` takes as long by itself.
        """
        if self._sender() is not None and self._queue() is None and configured():
            with suppress(MailError):
                smtp.rehearse(self.message("unknown", identifier, current_language()))

    def deliver(self, template: str, recipient: str, language: Language, **context: object) -> None:
        """Send a mail of another kind, made of its three templates, by the queue where there is one.

        :raises MailError: it could not be handed over.
        """
        if self.has_server():
            self._hand_over(self.message(template, recipient, language, **context))
        else:
            _log.info("no MAIL_SERVER is set: the mail %r to %s is not sent", template, mask(recipient))

    def sample(self) -> Mail:
        """Return a mail with a code as people get it, to look at.

        :raises MailError: the sender cannot be one.
        """
        request = VerificationRequest(
            identifier="someone@example.com",
            code="123456",
            expires_at=self._clock() + timedelta(minutes=10),
            device="Chrome on Android",
            language=current_language(),
        )
        return self._code_message(request)

    def send(self, message: flask_mail.Message) -> None:
        """Hand a mail to the mail server.

        :raises MailError: the server did not take it, or not in time. The text names no address.
        """
        smtp.send(message)

    def check(self) -> None:
        """Try the mail server: the connection, its certificate, the login and the sender.

        :raises MailError: there is none, or one of them is not right. The text says which.
        """
        if self._sender() is None:
            if not self.has_server():
                raise no_server()
            smtp.check(sender_address(self._config))

    def has_server(self) -> bool:
        """Return whether mails can be sent; false in debug mode without a server.

        :raises MailError: there is no mail server outside debug mode.
        """
        if configured():
            return True
        if not current_app.debug:
            raise no_server()
        return False

    def message(self, template: str, recipient: str, language: Language, **context: object) -> Mail:
        """Return a finished mail.

        :raises MailError: the sender cannot be one.
        """
        try:
            return compose(template, recipient, language, self._config, self._clock(), dict(context))
        except ValueError:
            raise MailError(smtp.BAD_SENDER, for_everybody=True) from None

    def _code_message(self, request: VerificationRequest) -> Mail:
        code = request.code
        half = (len(code) + 1) // 2
        return self.message(
            "code",
            request.identifier,
            request.language,
            code=code,
            code_display=f"{code[:half]} {code[half:]}" if len(code) > 4 else code,
            minutes=_minutes(request.expires_at - self._clock()),
            purpose=request.purpose,
            device=request.device,
            link=request.url,
        )

    def _hand_over(self, message: Mail) -> None:
        queue = self._queue()
        if queue is None:
            self.send(message)
        else:
            _call("queue of mails", queue, message)


def configured() -> bool:
    """Return whether there is a mail server, or a test that does without one."""
    return bool(current_app.config.get("MAIL_SERVER")) or bool(smtp.settings().suppress)


def sender_address(config: Config) -> str:
    """Return the address that mails come from.

    :raises MailError: the setting is none.
    """
    try:
        return sender(config).address
    except ValueError:
        raise MailError(smtp.BAD_SENDER, for_everybody=True) from None


def no_server() -> MailError:
    """Return the exception about a mail server that is not set."""
    return MailError(
        "no mail server: set MAIL_SERVER (and MAIL_PORT, MAIL_USERNAME, MAIL_PASSWORD as it needs), or send codes "
        "yourself with @auth.send_verification_request. In debug mode codes are printed to the console instead.",
        for_everybody=True,
    )


def _call(what: str, callback: Callable[..., Any], *arguments: object, **named: object) -> None:
    try:
        with measured("mail", what):
            callback(*arguments, **named)
    except ChatBotKitAuthError:
        raise
    except Exception as error:  # noqa: BLE001  # the application's own code: anything may come
        # No traceback and no text: they may hold the code.
        raise MailError(f"the application's {what} failed with {type(error).__name__}") from None


def _minutes(duration: timedelta) -> int:
    return max(1, round(duration.total_seconds() / 60))


def _print_code(request: VerificationRequest, minutes: int) -> None:
    line = "─" * 64
    print(  # noqa: T201  # the console is where the developer looks
        f"\n{line}\n  Sign-in code for {request.identifier}:  {request.code}\n  (no MAIL_SERVER is set, so it is shown here; "
        f"valid for {minutes} minutes)\n{line}\n",
        file=sys.stderr,
        flush=True,
    )
