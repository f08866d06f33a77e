"""Challenges of every purpose: creating them, adding codes, and what each still allows."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from ..exceptions import (
    CodeExpired,
    InvalidEmail,
    NoChallenge,
    RateLimited,
    StoreError,
    TooManyAttempts,
    VerificationError,
)
from ..identifier import mask
from ..keys import secret_keys
from ..proxies import running_app
from ..signals import code_failed, emit
from ..state import AuthState, current_auth, current_state
from ..stores.base import Challenge, State
from ..stores.records import Purpose

_log = logging.getLogger("flask_chatbotkit_auth")

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
    auth.store.add_challenge(challenge, digests_of(auth, challenge, code)[0])
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
        digests_of(auth, challenge, code)[0],
        now=now,
        expires_at=expires_at,
        sent_before=now - auth.config.resend_cooldown,
        max_sends=auth.config.resend_max + 1,
        max_attempts=auth.provider.attempts,
    )
    if not added:
        raise RateLimited(_seconds(auth.config.resend_cooldown), "resend:cooldown")
    return code, expires_at


def finish(challenge: Challenge) -> None:
    """Complete a claimed challenge, after what its code was for has been done. A failure of the store is only logged."""
    try:
        current_auth.store.finish(challenge.id)
    except StoreError as error:
        # Its holder forgets it, and nobody else has proved it.
        _log.warning("a challenge could not be completed (%s)", error)


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
        emit(code_failed, running_app(), stage=stage, identifier=identifier, error=error)
        raise


def digests_of(auth: AuthState, challenge: Challenge, code: str) -> list[str]:
    """Return the digest of ``code`` with the secret key, and with each earlier key."""
    provider = auth.provider
    return [provider.digest(key, challenge.id, challenge.identifier, code) for key in secret_keys(running_app().config)]


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


def _seconds(duration: timedelta, *, least: int = 1) -> int:
    return max(least, -int(-duration.total_seconds() // 1))
