"""Sending a code, so that neither the answer nor its time shows who gets none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from ..exceptions import MailError
from ..identifier import mask
from ..mail.smtp import Undelivered
from ..mail.verification import VerificationRequest
from ..proxies import running_app
from ..signals import code_sent, emit
from ..state import current_auth, current_state
from ..stores.base import Challenge
from ..user import User

_log = logging.getLogger("flask_chatbotkit_auth")


@dataclass(frozen=True)
class Recipient:
    """The recipient of a code."""

    gets_code: bool = True
    """Whether a code is sent. Without a code, everything else looks the same."""

    user: User | None = None
    """The account, if it was looked up."""

    hidden: bool = False
    """Whether the answer must not reveal if a code was sent."""


def deliver(
    challenge: Challenge, code: str, expires_at: datetime, recipient: Recipient, *, in_browser: bool = True
) -> None:
    """Send a code to the challenge's address, or take as long as that if ``recipient`` gets no code.

    :param in_browser: whether a browser holds the challenge, which can open a link.
    :raises MailError: it could not be sent. The challenge stays, and can send another code at once.
    """
    url = None
    if in_browser and challenge.purpose == "sign_in" and current_auth.config.mail_link:
        from .link import link_to  # imported only if it is on

        url = link_to(challenge)
    about = VerificationRequest.of(challenge, code, expires_at, user=recipient.user, url=url)
    try:
        if recipient.hidden:
            _deliver_hidden(about, recipient)
        else:
            _send(about)
    except MailError:
        # The 5xx answer is logged with its cause. The code does not count as one that was sent.
        current_auth.store.withdraw_code(challenge.id)
        raise


def _deliver_hidden(about: VerificationRequest, recipient: Recipient) -> None:
    auth = current_state()
    with auth.pace.padded(sends=recipient.gets_code), _failures_hidden():
        if recipient.gets_code:
            _send(about)
            if auth.config.unknown_user == "mail":
                auth.mailer.rehearse_unknown(about.identifier)
        elif auth.config.unknown_user == "mail":
            auth.mailer.send_unknown(about.identifier)
        else:
            auth.mailer.rehearse(about)


@contextmanager
def _failures_hidden() -> Iterator[None]:
    # An application's own sender or queue is not called for an address without an account, so its failure would reveal that
    # there is one. Our own mail is rehearsed, and fails the same way for every address until the recipient is accepted. With
    # "mail", every address gets a mail.
    auth = current_state()
    try:
        yield
    except MailError as error:
        rehearsed = auth.config.unknown_user == "mail" or not isinstance(error.__cause__, Undelivered)
        if not auth.mailer.hands_over and rehearsed:
            raise
        _log.error("no code sent, and the answer does not say so: %s", error)


def _send(about: VerificationRequest) -> None:
    current_auth.mailer.send_code(about)
    _log.info("code sent to %s", mask(about.identifier))
    app = running_app()
    emit(code_sent, app, identifier=about.identifier, expires_at=about.expires_at)
