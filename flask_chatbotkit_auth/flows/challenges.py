"""Challenges of every purpose: creating them, sending and resending codes, trying codes."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import current_app

from ..exceptions import (
    ChatBotKitAuthError,
    CodeExpired,
    InvalidCode,
    InvalidEmail,
    MailError,
    NoChallenge,
    RateLimited,
    TooManyAttempts,
    VerificationError,
)
from ..identifier import mask
from ..keys import secret_keys
from ..mail.smtp import Undelivered
from ..mail.verification import VerificationRequest
from ..signals import code_failed, code_sent, emit
from ..state import AuthState, current_auth, current_state
from ..stores.base import Challenge, Outcome, State
from ..stores.records import Purpose
from ..user import User
from . import counting

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


MAX_TRIES = 10
"""How often completing a challenge can be tried. Each try fetches the account from the API."""


def create(identifier: str, purpose: Purpose, user_id: str | None = None) -> tuple[Challenge, str]:
    """Create a challenge. Return it with its first code, which must be sent.

    :param user_id: the account of the signed-in person, if the flow is about it.
    """
    auth = current_state()
    now = auth.clock()
    challenge = Challenge(
        id=secrets.token_hex(16),
        identifier=identifier,
        sent_at=now,
        expires_at=now + auth.provider.lifetime,
        purpose=purpose,
        user_id=user_id,
    )
    code = auth.provider.generate()
    auth.store.add_challenge(challenge, _digests(auth, challenge, code)[0])
    auth.sweep()
    return challenge, code


def require_open(challenge: Challenge) -> Challenge:
    """Return the challenge if it is open, or can be completed without another code.

    :raises NoChallenge: it was used.
    :raises CodeExpired: the challenge has expired.
    :raises TooManyAttempts: too many wrong codes have ended the challenge.
    """
    if challenge.state is State.COMPLETED:
        raise used_error()
    if expired(challenge):
        raise CodeExpired
    if challenge.state is State.OPEN and attempts_left(challenge) == 0:
        raise TooManyAttempts(max(1, resend_in(challenge)))
    return challenge


def require_resend(challenge: Challenge) -> None:
    """Raise unless the challenge can send another code now.

    :raises RateLimited: it is too soon after the last code, or there were too many.
    """
    wait = resend_in(challenge)
    if resends_left(challenge) <= 0:
        raise RateLimited(expires_in(challenge), "resend:max")
    if wait:
        raise RateLimited(wait, "resend:cooldown")


def add_code(challenge: Challenge) -> tuple[str, datetime]:
    """Add another code. Return it, and when it expires. Earlier codes still work.

    :raises RateLimited: another request of the same browser was faster.
    """
    auth = current_state()
    now = auth.clock()
    expires_at = now + auth.provider.lifetime
    code = auth.provider.generate()
    added = auth.store.add_code(
        challenge.id,
        _digests(auth, challenge, code)[0],
        now=now,
        expires_at=expires_at,
        sent_before=now - auth.config.resend_cooldown,
        max_sends=auth.config.resend_max + 1,
        max_attempts=auth.provider.attempts,
    )
    if not added:
        raise RateLimited(_seconds(auth.config.resend_cooldown), "resend:cooldown")
    return code, expires_at


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


def try_code(challenge: Challenge, typed: str) -> None:
    """Verify an open challenge with a code, or raise. A wrong code is counted; one of the wrong length is not.

    A verified challenge accepts a right code again, since the first answer may have been lost.

    :raises InvalidCode: the code is wrong.
    :raises CodeExpired: the challenge has expired.
    :raises TooManyAttempts: too many wrong codes have ended the challenge.
    :raises RateLimited: too many wrong codes for this address or from this client, over all challenges.
    :raises NoChallenge: another request has used it.
    """
    auth = current_state()
    code = auth.provider.normalize(typed)
    was_verified = challenge.state is not State.OPEN
    if was_verified:
        if not code:
            raise used_error()
        _count_repetition(challenge)
    elif not auth.provider.has_length(code):
        raise InvalidCode(attempts_left(challenge))
    with counting.telling_limits(challenge.identifier), auth.limiter.together():
        # Counted before the code is compared, so that all workers together never exceed the limit.
        counted = counting.count_untold("verify", challenge.identifier)
        attempt = auth.store.try_code(
            challenge.id, _digests(auth, challenge, code), now=auth.clock(), max_attempts=auth.provider.attempts
        )
        if attempt.outcome is Outcome.ACCEPTED or (was_verified and attempt.again):
            # Only its own count: when the owner signs in, somebody who guesses gets no further tries.
            auth.limiter.refund_all(counted)
            return
    raise _refusal(challenge, attempt.outcome, attempt.attempts)


@contextmanager
def refusals_told(stage: str, identifier: str) -> Iterator[None]:
    """Log and signal each refusal of a request or a code that is raised inside.

    :param stage: ``"request"`` or ``"verify"``.
    :param identifier: the address, or ``""``.
    """
    try:
        yield
    except (InvalidEmail, NoChallenge, RateLimited, VerificationError) as error:
        what = "request" if stage == "request" else "code"
        _log.info("%s refused for %s: %s", what, mask(identifier) if identifier else "nobody", error)
        emit(code_failed, _app(), stage=stage, identifier=identifier, error=error)
        raise


def expired(challenge: Challenge) -> bool:
    """Return whether the challenge has expired."""
    return challenge.expires_at <= current_auth.clock()


def expires_in(challenge: Challenge) -> int:
    """Return the seconds until the newest code of the challenge expires."""
    return _seconds(challenge.expires_at - current_auth.clock())


def resend_in(challenge: Challenge) -> int:
    """Return the seconds until another code can be sent; 0 for now."""
    auth = current_state()
    return _seconds(challenge.sent_at + auth.config.resend_cooldown - auth.clock(), least=0)


def resends_left(challenge: Challenge) -> int:
    """Return how many more codes can be sent."""
    return max(0, current_auth.config.resend_max + 1 - challenge.sends)


def attempts_left(challenge: Challenge) -> int:
    """Return how many more wrong codes the challenge allows."""
    return max(0, current_auth.provider.attempts - challenge.attempts)


def used_error() -> NoChallenge:
    """Return the exception for a challenge that another request has used."""
    return NoChallenge("this challenge was used before")


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
    emit(code_sent, _app(), identifier=about.identifier, expires_at=about.expires_at)


def _count_repetition(challenge: Challenge) -> None:
    # The store does not count wrong codes of a verified challenge, and an attacker may have its cookie.
    try:
        current_auth.limiter.hit("verify:again", challenge.id)
    except RateLimited:
        raise used_error() from None


def accept(challenge: Challenge) -> None:
    """Verify an open challenge with the link of its mail, without a code, or raise.

    A verified challenge is accepted again, since the first answer may have been lost.

    :raises CodeExpired: the challenge has expired.
    :raises TooManyAttempts: too many wrong codes have ended the challenge.
    :raises NoChallenge: another request has used it.
    """
    auth = current_state()
    was_verified = challenge.state is not State.OPEN
    if was_verified:
        _count_repetition(challenge)
    attempt = auth.store.accept_challenge(challenge.id, now=auth.clock(), max_attempts=auth.provider.attempts)
    if attempt.outcome is not Outcome.ACCEPTED and not (was_verified and attempt.again):
        raise _refusal(challenge, attempt.outcome, attempt.attempts)


def _refusal(challenge: Challenge, outcome: Outcome, attempts: int) -> ChatBotKitAuthError:
    if outcome is Outcome.WRONG:
        return InvalidCode(max(0, current_auth.provider.attempts - attempts))
    if outcome is Outcome.EXHAUSTED:
        return TooManyAttempts(max(1, resend_in(challenge)))
    if outcome is Outcome.EXPIRED:
        return CodeExpired()
    return used_error()


def _digests(auth: AuthState, challenge: Challenge, code: str) -> list[str]:
    """Return the digest of ``code`` with the secret key, and with each earlier key."""
    provider = auth.provider
    return [provider.digest(key, challenge.id, challenge.identifier, code) for key in secret_keys(current_app.config)]


def _seconds(duration: timedelta, *, least: int = 1) -> int:
    return max(least, -int(-duration.total_seconds() // 1))


def _app() -> object:
    return current_app._get_current_object()  # type: ignore[attr-defined]
