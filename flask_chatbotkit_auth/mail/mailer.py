"""Sends mails: by the application's own sender or queue, by the mail server, or to the console during development."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import flask_mail

from ..config import Config
from ..exceptions import ChatBotKitAuthError, MailError
from ..identifier import mask
from ..languages import Language, current_language
from ..measure import measured
from ..proxies import running_app
from . import smtp
from .compose import compose, sender, site_name
from .message import Mail
from .verification import VerificationRequest

_log = logging.getLogger("flask_chatbotkit_auth")

Sender = Callable[..., object]
"""The application's own sender of codes.

It takes the keywords ``identifier``, ``code``, ``expires_at``, ``user`` and ``url``.
"""

Queue = Callable[[flask_mail.Message], object]
"""The application's own queue. It takes a finished mail, which a job sends later with :meth:`Mailer.send`."""


class Mailer:
    """Sends codes and other mails.

    :param sender: returns the application's own sender of codes, or ``None``. It is called for each mail.
    :param queue: returns the application's own queue of mails, or ``None``. It is called for each mail.
    :param clock: returns the current time, aware, in UTC.
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
        """Whether the application has its own sender or queue for codes, which cannot be rehearsed."""
        return self._sender() is not None or self._queue() is not None

    @property
    def site_name(self) -> str:
        """The product's name in mails."""
        return site_name(self._config)

    def send_code(self, request: VerificationRequest) -> None:
        """Send a code to the address that asked for it.

        :raises MailError: it could not be sent. Neither the log nor the exception contains the code.
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
        """Tell the owner of an address that somebody tried to sign in with it, and that it has no account.

        It is always sent by our mail. If codes are sent another way, a failure is only logged, since an answer about it would
        reveal that there is no account.

        :raises MailError: it could not be sent.
        """
        own = self._sender() is not None
        if not configured() and (own or running_app().debug):
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
        """Do what :meth:`send_code` does, without sending: the mail server is asked, and then the mail is cancelled.

        If nobody may learn which addresses have an account, an answer for an address without one must take the same time, and
        fail in the same cases. The mail is composed, since its templates may use the browser's session. The application's own
        sender or queue is not called.

        :raises MailError: a mail to this address could not have been sent.
        """
        if self._sender() is None and self.has_server():
            message = self._code_message(request)
            if self._queue() is None:
                smtp.rehearse(message)

    def rehearse_unknown(self, identifier: str) -> None:
        """Take about as long as :meth:`send_unknown`, if codes are sent by the application's own sender.

        A failure is not raised either. If codes are sent by our mail, :meth:`send_code` takes as long anyway.
        """
        if self._sender() is not None and self._queue() is None and configured():
            with suppress(MailError):
                smtp.rehearse(self.message("unknown", identifier, current_language()))

    def deliver(self, template: str, recipient: str, language: Language, **context: object) -> None:
        """Compose a mail of another kind from its three templates, and send it, by the queue if there is one.

        :raises MailError: it could not be sent.
        """
        if self.has_server():
            self._hand_over(self.message(template, recipient, language, **context))
        else:
            _log.info("no MAIL_SERVER is set: the mail %r to %s is not sent", template, mask(recipient))

    def sample(self) -> Mail:
        """Return a sample of the mail with a code.

        :raises MailError: the sender is not a mailbox.
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

        :raises MailError: the server did not accept it in time. The text contains no address.
        """
        smtp.send(message)

    def check(self) -> None:
        """Try the mail server: the connection, its certificate, the login and the sender.

        :raises MailError: there is no mail server, or one of these fails. The text says which.
        """
        if self._sender() is None:
            if not self.has_server():
                raise no_server()
            smtp.check(sender_address(self._config))

    def has_server(self) -> bool:
        """Return whether mails can be sent. This is false in debug mode without a mail server.

        :raises MailError: there is no mail server, and debug mode is off.
        """
        if configured():
            return True
        if not running_app().debug:
            raise no_server()
        return False

    def message(self, template: str, recipient: str, language: Language, **context: object) -> Mail:
        """Return a finished mail.

        :raises MailError: the sender is not a mailbox.
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
    """Return whether a mail server is configured, or not needed in a test."""
    return bool(running_app().config.get("MAIL_SERVER")) or bool(smtp.settings().suppress)


def sender_address(config: Config) -> str:
    """Return the address of the sender.

    :raises MailError: the setting is not a mailbox.
    """
    try:
        return sender(config).address
    except ValueError:
        raise MailError(smtp.BAD_SENDER, for_everybody=True) from None


def no_server() -> MailError:
    """Return the exception for a missing mail server."""
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
        # Without traceback and text, which may contain the code.
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
