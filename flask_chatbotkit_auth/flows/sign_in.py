"""The steps of the sign-in, for pages and JSON.

Each function uses the pending challenge of the browser, and raises an exception of :mod:`~flask_chatbotkit_auth.exceptions`
if it cannot go on. They know nothing about pages and JSON.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from flask import session

from ..exceptions import (
    ChatBotKitAuthError,
    CodeExpired,
    NoChallenge,
    SignInDenied,
    SignUpDisabled,
    TooManyAttempts,
)
from ..identifier import mask
from ..login import enter, held_session, leave
from ..proxies import running_app
from ..sessions import shown
from ..signals import emit, sign_in_failed, user_created, user_signed_in, user_signed_out
from ..state import AuthState, current_auth, current_state
from ..stores.base import Challenge, SessionRecord, State
from ..user import User
from . import challenges
from .arrival import arrived
from .delivery import Recipient
from .pending import Pending

_log = logging.getLogger("flask_chatbotkit_auth")

REMEMBER_KEY = "chatbotkit_auth_remember"


def request_code(email: str, *, next: str | None = None, remember: bool = True) -> Challenge:
    """Begin a sign-in: create a challenge for ``email``, and send its first code.

    Neither the answer nor its duration reveals whether the address has an account.

    :param next: the checked path to go to afterwards.
    :raises InvalidEmail: it is not an address.
    :raises RateLimited: too many requests for this address or from this client.
    :raises APIError: the account had to be looked up, and the API failed. No challenge was created.
    :raises MailError: the code could not be sent. The challenge stays, and :func:`resend_code` works at once.
    """
    if remember:
        session.pop(REMEMBER_KEY, None)
    else:
        session[REMEMBER_KEY] = False
    return _pending().request_code(email, _look_up, next=next)


def resend_code() -> Challenge:
    """Send another code for this browser's challenge. Earlier codes still work, and wrong codes stay counted.

    If the challenge has expired, a new one is created with the same address and ``next``.

    :raises NoChallenge: this browser has no challenge, or it was used.
    :raises TooManyAttempts: too many wrong codes have ended the challenge.
    :raises RateLimited: it is too soon after the last code, or there were too many.
    :raises APIError: as :func:`request_code`.
    :raises MailError: the code could not be sent. Another can be sent at once.
    """
    return _pending().resend_code(_look_up)


def sign_in_by_code(typed: str, *, remember: bool | None = None) -> User:
    """Sign this browser in with a code. If it has already typed the right code, none is needed.

    If the API fails, this can be tried again without a code until the challenge expires, at most ten times. It succeeds
    once. An exception of one of the application's hooks propagates, and does not change the challenge.

    :param remember: whether the browser stays signed in after it is closed; by default as in :func:`request_code`.
    :raises NoChallenge: this browser has no challenge, or another request has used it.
    :raises InvalidCode: the code is wrong, and was counted. A code of the wrong length is not counted.
    :raises CodeExpired: the challenge has expired.
    :raises TooManyAttempts: too many wrong codes have ended the challenge.
    :raises RateLimited: too many wrong codes for this address or from this client, over all challenges.
    :raises SignUpDisabled: there is no account, and none can be created. The challenge has ended.
    :raises SignInDenied: the application refused. The challenge has ended.
    :raises APIError: the API could not be reached. The challenge stays verified.
    """
    if remember is None:
        remember = session.get(REMEMBER_KEY) is not False
    challenge = _pending().prove(typed)
    with challenges.refusals_told("verify", challenge.identifier):
        return complete_sign_in(challenge, remember=remember)


def complete_sign_in(challenge: Challenge, *, remember: bool = True, method: str = "code") -> User:
    """Sign in the person of a verified challenge. Create the account if that is allowed.

    :param challenge: the challenge. It is still open if this request has verified it.
    :param remember: whether the browser stays signed in after it is closed.
    :param method: how the address was proved: ``"code"`` or ``"link"``.
    :raises ChatBotKitAuthError: as :func:`sign_in_by_code`.
    """
    auth = current_state()
    identifier = challenge.identifier
    user, created, entering = admit(challenge)
    token, record = auth.registry.open(challenge, user, method=method, event=auth.sign_in_event)
    enter(auth, entering, token, record, remember=remember)
    tell(record, created=created)
    arrived(identifier, user, created=created)
    return shown(record)


def admit(challenge: Challenge) -> tuple[User, bool, Any]:
    """Return the person of a verified challenge. Create the account if that is allowed, and ask the application.

    :returns: the user, whether this call created the account, and the future ``current_user``.
    :raises ChatBotKitAuthError: as :func:`sign_in_by_code`.
    """
    auth = current_state()
    identifier = challenge.identifier
    # The first try is not counted, since the store lets only this request verify the challenge.
    again = challenge.state is not State.OPEN
    if again and not auth.store.count_try(challenge.id, now=auth.clock(), max_tries=challenges.MAX_TRIES - 1):
        raise challenges.used_error()
    user = None
    try:
        user, created = _resolve(auth, identifier)
        if created:
            # Before all that can fail: the next try finds the account, and does not create it.
            emit(user_created, running_app(), user=user)
        if not user.is_active:
            raise SignInDenied
        user = auth.prepared(user)
        # The row keeps the value of the API. The proof of this sign-in is stored beside it.
        entering = auth.present(user if user.email_verified else replace(user, email_verified=auth.clock()))
        if entering is None:
            raise SignInDenied
    except ChatBotKitAuthError as error:
        # An outage is logged as such where it is answered, once a minute, and not for each person.
        _log.info("sign-in of %s failed: %s", mask(identifier), error)
        emit(sign_in_failed, running_app(), identifier=identifier, user_id=user.id if user else None, error=error)
        if isinstance(error, (SignInDenied, SignUpDisabled)):
            # Trying again would give the same result.
            auth.store.end_challenge(challenge.id)
        raise
    return user, created, entering


def tell(record: SessionRecord, *, created: bool) -> None:
    """Log and signal that a session was opened.

    :param created: whether the account was just created.
    """
    user = shown(record)
    _log.info("signed in: user %s, %s", user.id, mask(record.identifier or ""))
    emit(user_signed_in, running_app(), user=user, created=created, method=record.method)


def sign_out() -> None:
    """End this browser's session, also in the store, so that a copy of its cookie is useless. Do nothing if there is none.

    :raises StoreError: it could not be ended, and the person is still signed in.
    """
    record = held_session()
    if record is not None:
        current_auth.registry.end(record.id)
    leave()
    if record is not None:
        emit(user_signed_out, running_app(), user=record.user)


def pending() -> Challenge | None:
    """Return this browser's challenge if it can still be used, or ``None``."""
    try:
        return _pending().find_open()
    except (NoChallenge, CodeExpired, TooManyAttempts):
        return None


def latest() -> Challenge | None:
    """Return this browser's challenge in any state, for a page about an error, or ``None``."""
    return _pending().latest()


def proved(challenge: Challenge) -> bool:
    """Return whether this browser has typed the right code, and needs no other one to sign in."""
    return _pending().proved(challenge)


def pending_next() -> str | None:
    """Return the path to go to after this browser's sign-in."""
    return _pending().next


def forget() -> None:
    """Remove this browser's challenge."""
    _pending().forget()


def may_sign_up(identifier: str) -> bool:
    """Return whether an account can be created for this address: by the switch, and by the ``sign_up_callback``."""
    auth = current_state()
    if not auth.adapter.auto_create or auth.hooks.sign_up is None:
        return auth.adapter.auto_create
    answer = auth.hooks.sign_up(identifier)
    # A sentence refuses, as in the other hooks, although nobody reads it: the answer must not tell who has an account.
    return bool(answer) and not isinstance(answer, str)


def _pending() -> Pending:
    return Pending("sign_in")


def _look_up(identifier: str) -> Recipient:
    """Return the recipient of a code. If an account can be created, the address gets a code without a look-up."""
    if may_sign_up(identifier):
        return Recipient()
    user = current_auth.adapter.get_by_email(identifier)
    return Recipient(gets_code=user is not None, user=user, hidden=True)


def _resolve(auth: AuthState, identifier: str) -> tuple[User, bool]:
    """Return the account of the address, created if that is allowed, and whether this call created it.

    Every other account is passed to the ``sign_in_callback``, however the adapter found it.
    """
    approved: set[str] = set()

    def approve(found: User | None) -> None:
        if found is None and not may_sign_up(identifier):
            raise SignUpDisabled
        auth.approve(identifier, found)
        if found is not None:
            approved.add(found.id)

    # An application's own adapter needs to accept fields only if the application sets some.
    fields = () if auth.hooks.new_user is None else (lambda: auth.new_user_fields(identifier),)
    user, created = auth.adapter.resolve(identifier, approve, *fields)
    if not created and user.id not in approved:
        approve(user)
    return user, created
