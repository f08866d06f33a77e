"""Proving a challenge: with a code, whose tries are counted, or with the link in the mail."""

from __future__ import annotations

from ..exceptions import ChatBotKitAuthError, CodeExpired, InvalidCode, RateLimited, TooManyAttempts
from ..state import current_auth, current_state
from ..stores.base import Challenge, Outcome, State
from . import counting
from .challenges import attempts_left, digests_of, resend_in, used_error


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
            challenge.id, digests_of(auth, challenge, code), now=auth.clock(), max_attempts=auth.provider.attempts
        )
        if attempt.outcome is Outcome.ACCEPTED or (was_verified and attempt.again):
            # Only its own count: when the owner signs in, somebody who guesses gets no further tries.
            auth.limiter.refund_all(counted)
            return
    raise _refusal(challenge, attempt.outcome, attempt.attempts)


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


def _count_repetition(challenge: Challenge) -> None:
    # The store does not count wrong codes of a verified challenge, and an attacker may have its cookie.
    try:
        current_auth.limiter.hit("verify:again", challenge.id)
    except RateLimited:
        raise used_error() from None


def _refusal(challenge: Challenge, outcome: Outcome, attempts: int) -> ChatBotKitAuthError:
    if outcome is Outcome.WRONG:
        return InvalidCode(max(0, current_auth.provider.attempts - attempts))
    if outcome is Outcome.EXHAUSTED:
        return TooManyAttempts(max(1, resend_in(challenge)))
    if outcome is Outcome.EXPIRED:
        return CodeExpired()
    return used_error()
