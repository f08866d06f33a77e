"""The end of an account by its owner's hand: a code first, then for good.

Its challenge is another one than the sign-in's, under a key of its own in the browser's session, and belongs to the person
who is signed in there. So no code that was sent for one purpose serves the other.
"""

from __future__ import annotations

from flask import session

from ..exceptions import CodeExpired, LifecycleDisabled, NoChallenge, TooManyAttempts
from ..identifier import normalize_identifier, same_identifier
from ..login import leave
from ..state import current_auth
from ..stores.base import Challenge, State
from ..user import User
from . import challenges

_SESSION_KEY = "chatbotkit_auth_deletion"


def request_code(user: User) -> Challenge:
    """Send the person a code, or another one: the earlier ones keep working, and wrong attempts stay counted.

    :raises LifecycleDisabled: ``CHATBOTKIT_AUTH_AUTO_DELETE`` is off.
    :raises InvalidEmail: the account has no address (any more) that a mail can be sent to.
    :raises RateLimited: too soon after the last code, or too many of them for this address or from this client.
    :raises MailError: the code could not be sent; this works again at once.
    """
    _require_switch()
    challenge = pending(user)
    if challenge is None:
        identifier = normalize_identifier(user.email)
        challenges.count_request(identifier)
        challenge, code = challenges.create(identifier)
        session[_SESSION_KEY] = {"challenge": challenge.id, "user": user.id}
        challenges.deliver(challenge, code, challenge.expires_at, user, "deletion")
        return challenge
    if challenge.state is State.VERIFIED:
        return challenge
    challenges.require_resend(challenge)
    challenges.count_request(challenge.identifier)
    code, expires_at = challenges.add_code(challenge)
    challenges.deliver(challenge, code, expires_at, user, "deletion")
    return challenges.find(challenge.id)


def delete_account(user: User, typed: str) -> None:
    """Delete the person's account for good, end all their sessions, and sign this browser out.

    When the API fails here, this can be tried again without a new code for as long as the challenge lasts.

    :param typed: the code.
    :raises LifecycleDisabled: ``CHATBOTKIT_AUTH_AUTO_DELETE`` is off.
    :raises NoChallenge: no code was sent to this person in this browser, or another request has used it.
    :raises InvalidCode: it is wrong, and counted; one that is empty is not counted.
    :raises CodeExpired: it is past its lifetime.
    :raises TooManyAttempts: too many wrong codes have ended the challenge.
    :raises RateLimited: too many wrong codes for this address or from this client, over all challenges.
    :raises APIError: the API could not be reached or refused; the account is as it was.
    """
    _require_switch()
    challenge = _open_challenge(user)
    if challenge.state is State.OPEN:
        challenges.try_code(challenge, typed)
    current_auth.delete_user(user)
    leave()


def pending(user: User) -> Challenge | None:
    """Return the person's challenge in this browser if it can still lead to the end, or ``None``."""
    try:
        return _open_challenge(user)
    except (NoChallenge, CodeExpired, TooManyAttempts):
        return None


def _open_challenge(user: User) -> Challenge:
    entry = session.get(_SESSION_KEY)
    if not isinstance(entry, dict) or entry.get("user") != user.id:
        raise NoChallenge("no code was sent to this person in this browser")
    challenge = challenges.find(entry.get("challenge"))
    if not same_identifier(user.email, challenge.identifier):
        raise NoChallenge("the person has another address since the code was sent")
    return challenges.require_open(challenge)


def _require_switch() -> None:
    if not current_auth.adapter.auto_delete:
        raise LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_DELETE")
