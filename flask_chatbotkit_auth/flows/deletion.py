"""Account deletion: the signed-in person proves the address with a code, and then the account is deleted."""

from __future__ import annotations

from ..exceptions import CodeExpired, InvalidConfirmation, LifecycleDisabled, NoChallenge, TooManyAttempts
from ..identifier import same_identifier
from ..login import leave
from ..state import current_auth, current_state
from ..stores.base import Challenge, State
from ..user import User
from . import challenges
from .delivery import Recipient
from .pending import Pending


def request_code(user: User) -> Challenge:
    """Send the person a code, or another code. Earlier codes still work, and wrong codes stay counted.

    :raises LifecycleDisabled: ``CHATBOTKIT_AUTH_AUTO_DELETE`` is off.
    :raises InvalidEmail: the account has no address that can receive mail.
    :raises RateLimited: it is too soon after the last code, or there were too many for this address or from this client.
    :raises MailError: the code could not be sent. Another can be sent at once.
    """
    _require_switch()
    challenge = pending(user)
    # A challenge that another browser has verified, or that a request has claimed and not released, cannot be used here.
    if challenge is None or not (challenge.state is State.OPEN or proved(user)):
        return _pending(user).request_code(user.email, lambda _email: Recipient(user=user))
    return _pending(user).resend_code(lambda _email: Recipient(user=user))


def delete_account(user: User, typed: str, confirmation: str) -> None:
    """Delete the person's account permanently, end all their sessions, and sign this browser out.

    A right code is remembered: after a wrong confirmation, or if the API fails, the person can try again without a code
    until the challenge expires. If a code is sent several times at once, the account is deleted once.

    :param typed: the code.
    :param confirmation: the address of the account, as the person typed it.
    :raises LifecycleDisabled: ``CHATBOTKIT_AUTH_AUTO_DELETE`` is off.
    :raises InvalidConfirmation: the confirmation is another address.
    :raises NoChallenge: this browser has no challenge of this person, or another request has used it, or the account now has
        another address than the one that was proved. In the last case, the person is signed out.
    :raises InvalidCode: the code is wrong, and was counted. A code of the wrong length is not counted.
    :raises CodeExpired: the challenge has expired.
    :raises TooManyAttempts: too many wrong codes have ended the challenge.
    :raises RateLimited: too many wrong codes for this address or from this client, over all challenges.
    :raises APIError: the API could not be reached, or refused. The account is unchanged.
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
    challenges.finish(challenge)
    leave()
    if found is not None and moved:
        # The code went to an address that the account does not have any more. So its sessions end as well.
        auth.registry.save(found)
        raise NoChallenge("the account has another address by now than the one that the code was sent to")


def pending(user: User) -> Challenge | None:
    """Return the person's challenge in this browser if it can still be used, or ``None``."""
    try:
        return _pending(user).find_open()
    except (NoChallenge, CodeExpired, TooManyAttempts):
        return None


def proved(user: User) -> bool:
    """Return whether this browser has typed the right code, and needs no other one to delete the account."""
    challenge = pending(user)
    return challenge is not None and challenge.is_verified(current_auth.clock()) and _pending(user).proved(challenge)


def _pending(user: User) -> Pending:
    return Pending("deletion", user_id=user.id, email=user.email)


def _require_switch() -> None:
    if not current_auth.adapter.auto_delete:
        raise LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_DELETE")
