"""A challenge of this browser: made, found again, tried, and what is counted on the way.

What every flow shares that has a person prove their address by a code, whatever the proof is for.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from flask import current_app, request

from ..exceptions import (
    ChatBotKitAuthError,
    CodeExpired,
    InvalidCode,
    MailError,
    NoChallenge,
    RateLimited,
    TooManyAttempts,
)
from ..identifier import mask
from ..keys import secret_keys
from ..mail.verification import VerificationRequest
from ..signals import code_failed, code_sent, emit
from ..state import current_auth
from ..stores.base import Challenge, Outcome, State
from ..user import User

_log = logging.getLogger("flask_chatbotkit_auth")


def count_request(identifier: str) -> None:
    """Count a code that is asked for.

    :raises RateLimited: too many were asked for, for this address or from this client.
    """
    auth = current_auth
    with auth.store.connected():
        # The client first: one that is over its own limit must not use up somebody else's.
        auth.limiter.hit_client("request:ip", request.remote_addr)
        auth.limiter.hit("request:email", identifier)


def create(identifier: str) -> tuple[Challenge, str]:
    """Make a challenge; return it with its first code, which is to be sent."""
    auth = current_auth
    now = auth.clock()
    challenge = Challenge(
        id=secrets.token_hex(16), identifier=identifier, sent_at=now, expires_at=now + auth.provider.lifetime
    )
    code = auth.provider.generate()
    auth.store.add_challenge(challenge, _digests(challenge, code)[0])
    auth.sweep()
    return challenge, code


def find(id: object) -> Challenge:
    """Return the challenge that the browser's session names.

    :raises NoChallenge: it names none, or one that was over long ago.
    """
    challenge = current_auth.store.get_challenge(id) if isinstance(id, str) else None
    if challenge is None:
        raise NoChallenge("this browser has no challenge, or one that was over long ago")
    return challenge


def require_open(challenge: Challenge) -> Challenge:
    """Return the challenge if a code, or a second try without one, can still do something.

    :raises NoChallenge: it has been used.
    :raises CodeExpired: it is past its lifetime.
    :raises TooManyAttempts: too many wrong codes have ended it.
    """
    if challenge.state is State.COMPLETED:
        raise spent()
    if expired(challenge):
        raise CodeExpired
    if challenge.state is State.OPEN and attempts_left(challenge) == 0:
        raise TooManyAttempts(max(1, resend_in(challenge)))
    return challenge


def require_resend(challenge: Challenge) -> None:
    """Do nothing if the challenge may send another code now.

    :raises RateLimited: too soon after the last one, or too many of them.
    """
    wait = resend_in(challenge)
    if resends_left(challenge) <= 0:
        raise RateLimited(expires_in(challenge), "resend:max")
    if wait:
        raise RateLimited(wait, "resend:cooldown")


def add_code(challenge: Challenge) -> tuple[str, datetime]:
    """Add one more code; return it, to be sent, and when it stops working. The earlier ones keep working.

    :raises RateLimited: since our look another request of the same browser was faster.
    """
    auth = current_auth
    now = auth.clock()
    expires_at = now + auth.provider.lifetime
    code = auth.provider.generate()
    added = auth.store.add_code(
        challenge.id,
        _digests(challenge, code)[0],
        now=now,
        expires_at=expires_at,
        sent_before=now - auth.config.resend_cooldown,
        max_sends=auth.config.resend_max + 1,
        max_attempts=auth.provider.attempts,
    )
    if not added:
        raise RateLimited(_seconds(auth.config.resend_cooldown), "resend:cooldown")
    return code, expires_at


def deliver(challenge: Challenge, code: str, expires_at: datetime, user: User | None, purpose: str = "sign_in") -> None:
    """Send a code to the challenge's address.

    :param user: the account behind it, where it was looked up.
    :raises MailError: it could not be sent. The challenge stays, and may send another at once.
    """
    with sending(challenge):
        current_auth.mailer.send_code(VerificationRequest.of(challenge, code, expires_at, user=user, purpose=purpose))
    _log.info("code sent to %s", mask(challenge.identifier))
    emit(code_sent, _app(), identifier=challenge.identifier, expires_at=expires_at)


@contextmanager
def sending(challenge: Challenge) -> Iterator[None]:
    """Take the code's place in the count back when a mail inside cannot be sent."""
    try:
        yield
    except MailError:  # the answer of 5xx is logged with its cause
        current_auth.store.withdraw_code(challenge.id)
        raise


def try_code(challenge: Challenge, typed: str) -> None:
    """Verify an open challenge by a code, or raise. A wrong one is counted; one that is empty is not.

    One that is verified takes a right code again: the answer to the first may have been lost on the way.

    :raises InvalidCode: it is wrong.
    :raises CodeExpired: the challenge is past its lifetime.
    :raises TooManyAttempts: too many wrong codes have ended it.
    :raises RateLimited: too many wrong codes for this address or from this client, over all challenges.
    :raises NoChallenge: another request has used it.
    """
    auth = current_auth
    code = auth.provider.normalize(typed)
    again = challenge.state is State.VERIFIED
    if again:
        _count_again(challenge, code)
    elif not code:
        raise InvalidCode(attempts_left(challenge))
    digests = _digests(challenge, code)
    with auth.store.connected():
        # Counted before the code is compared, so that no number of workers tries more than the limit allows.
        auth.limiter.hit_client("verify:ip", request.remote_addr)
        auth.limiter.hit("verify:email", challenge.identifier)
        attempt = auth.store.try_code(challenge.id, digests, now=auth.clock(), max_attempts=auth.provider.attempts)
    if attempt.outcome is Outcome.ACCEPTED or (again and attempt.again):
        # Whoever has the mailbox has proved it (NIST 63B-4 3.2.2: failures before a success no longer count).
        with auth.store.connected():
            auth.limiter.clear("verify:email", challenge.identifier)
            auth.limiter.refund_client("verify:ip", request.remote_addr)
        return
    error = _refusal(challenge, attempt.outcome, attempt.attempts)
    _log.info("code refused for %s: %s", mask(challenge.identifier), error)
    emit(code_failed, _app(), identifier=challenge.identifier, error=error)
    raise error


def _count_again(challenge: Challenge, code: str) -> None:
    # The store counts no wrong codes of a challenge that is verified, and its cookie may be in a guesser's hands, too.
    if not code:
        raise spent()
    try:
        current_auth.limiter.hit("verify:again", challenge.id)
    except RateLimited as error:
        _log.warning("code refused for %s: %s", mask(challenge.identifier), error)
        raise spent() from None


def expires_in(challenge: Challenge) -> int:
    """Return in how many seconds the challenge's newest code stops working."""
    return _seconds(challenge.expires_at - current_auth.clock())


def expired(challenge: Challenge) -> bool:
    """Return whether every code of the challenge is past its lifetime."""
    return challenge.expires_at <= current_auth.clock()


def resend_in(challenge: Challenge) -> int:
    """Return in how many seconds another code may be asked for, 0 when now."""
    return _seconds(challenge.sent_at + current_auth.config.resend_cooldown - current_auth.clock(), least=0)


def resends_left(challenge: Challenge) -> int:
    """Return how many more codes may be asked for."""
    return max(0, current_auth.config.resend_max + 1 - challenge.sends)


def attempts_left(challenge: Challenge) -> int:
    """Return how many more wrong codes the challenge takes."""
    return max(0, current_auth.provider.attempts - challenge.attempts)


def spent() -> NoChallenge:
    """Return the exception about a challenge that another request has used."""
    return NoChallenge("this challenge was used before")


def _refusal(challenge: Challenge, outcome: Outcome, attempts: int) -> ChatBotKitAuthError:
    if outcome is Outcome.WRONG:
        return InvalidCode(max(0, current_auth.provider.attempts - attempts))
    if outcome is Outcome.EXHAUSTED:
        return TooManyAttempts(max(1, resend_in(challenge)))
    if outcome is Outcome.EXPIRED:
        return CodeExpired()
    return spent()


def _digests(challenge: Challenge, code: str) -> list[str]:
    """Return the digest of ``code`` under the secret key, then under each key that was in force before."""
    provider = current_auth.provider
    return [provider.digest(key, challenge.id, challenge.identifier, code) for key in secret_keys(current_app.config)]


def _seconds(duration: timedelta, *, least: int = 1) -> int:
    return max(least, -int(-duration.total_seconds() // 1))


def _app() -> object:
    return current_app._get_current_object()  # type: ignore[attr-defined]
