"""Account deletion: the signed-in person proves the address with a code, then the account is deleted for good."""

from __future__ import annotations

from ..exceptions import CodeExpired, InvalidConfirmation, LifecycleDisabled, NoChallenge, TooManyAttempts
from ..identifier import same_identifier
from ..login import leave
from ..state import current_auth, current_state
from ..stores.base import Challenge, State
from ..user import User
from . import challenges
from .challenges import Recipient
from .pending import Pending


def request_code(user: User) -> Challenge:
    """Send the person a code, or another one: the one before keeps working, and wrong attempts stay counted.

    :raises LifecycleDisabled: ``CHATBOTKIT_AUTH_AUTO_DELETE`` is off.
    :raises InvalidEmail: the account has no address (any more) that a mail can be sent to.
    :raises RateLimited: too soon after the last code, or too many of them for this address or from this client.
    :raises MailError: the code could not be sent; this works again at once.
    """
    _require_switch()
    challenge = pending(user)
    # One that another browser has verified, or that a request claimed and never gave back, is of no use here.
    if challenge is None or not (challenge.state is State.OPEN or proved(user)):
        return _pending(user).request_code(user.email, lambda _email: Recipient(user=user))
    return _pending(user).resend_code(lambda _email: Recipient(user=user))


def delete_account(user: User, typed: str, confirmation: str) -> None:
    """Delete the person's account for good, end all their sessions, and sign this browser out.

    A right code is remembered: after a wrong confirmation, or while the API fails, none is needed for as long as the
    challenge lasts. However often one code is sent at once, the account is deleted once.

    :param typed: the code.
    :param confirmation: the account's address as the person typed it.
    :raises LifecycleDisabled: ``CHATBOTKIT_AUTH_AUTO_DELETE`` is off.
    :raises InvalidConfirmation: the confirmation is another address.
    :raises NoChallenge: no code was sent to this person in this browser, or another request has used it, or the account has
        another address by now than the one that was proved. In the last case the person is signed out.
    :raises InvalidCode: it is wrong, and counted; one of another length than codes have is not counted.
    :raises CodeExpired: it is past its lifetime.
    :raises TooManyAttempts: too many wrong codes have ended the challenge.
    :raises RateLimited: too many wrong codes for this address or from this client, over all challenges.
    :raises APIError: the API could not be reached or refused; the account is as it was.
    """
    _require_switch()
    confirmed = same_identifier(confirmation, user.email)
    if not confirmed and not typed:
        raise InvalidConfirmation
    challenge = _pending(user).prove(typed)
    if not confirmed:
        raise InvalidConfirmation
    auth = current_state()
    if not auth.store.claim(challenge.id, now=auth.clock(), max_tries=challenges.MAX_TRIES):
        raise challenges.used_error()
    try:
        found = auth.adapter.get(user.id)
        moved = found is not None and bool(found.email) and not same_identifier(found.email, challenge.identifier)
        if not moved:
            auth.delete_user(found or user)
    except BaseException:
        auth.store.unclaim(challenge.id)
        raise
    auth.store.finish(challenge.id)
    leave()
    if found is not None and moved:
        # The code went to a mailbox that no longer stands for the account. Nor do sessions that were opened for it.
        auth.registry.save(found)
        raise NoChallenge("the account has another address by now than the one that the code was sent to")


def pending(user: User) -> Challenge | None:
    """Return the person's challenge in this browser if it can still lead to the end, or ``None``."""
    try:
        return _pending(user).find_open()
    except (NoChallenge, CodeExpired, TooManyAttempts):
        return None


def proved(user: User) -> bool:
    """Return whether this browser has typed the right code, and needs none to delete the account."""
    challenge = pending(user)
    return challenge is not None and challenge.is_verified(current_auth.clock()) and _pending(user).proved(challenge)


def _pending(user: User) -> Pending:
    return Pending("deletion", user_id=user.id, email=user.email)


def _require_switch() -> None:
    if not current_auth.adapter.auto_delete:
        raise LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_DELETE")
