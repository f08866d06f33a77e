"""The sign-in, step by step: the one path under pages and JSON.

Each function works on the challenge that the browser has pending, and raises an exception of
:mod:`~flask_chatbotkit_auth.exceptions` where it ends early. None of them knows how an answer looks.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from flask import current_app, session

from ..exceptions import (
    APIError,
    ChatBotKitAuthError,
    CodeExpired,
    NoChallenge,
    SignInDenied,
    SignUpDisabled,
    TooManyAttempts,
)
from ..identifier import mask
from ..login import enter, held_session, leave
from ..sessions import shown
from ..signals import emit, sign_in_failed, user_created, user_signed_in, user_signed_out
from ..state import AuthState, current_auth, current_state
from ..stores.base import Challenge, SessionRecord, State
from ..user import User
from . import challenges
from .arrival import arrived
from .challenges import Recipient
from .pending import Pending

_log = logging.getLogger("flask_chatbotkit_auth")

REMEMBER_KEY = "chatbotkit_auth_remember"


def request_code(email: str, *, next: str | None = None, remember: bool = True) -> Challenge:
    """Begin a sign-in: make a challenge for ``email`` and send its first code.

    Whether an account exists shows in nothing that comes back, nor in how long it takes.

    :param next: a checked path to go to afterwards.
    :raises InvalidEmail: it is not one address.
    :raises RateLimited: too many requests for this address or from this client.
    :raises APIError: the account had to be looked up and could not be; no challenge was made.
    :raises MailError: the code could not be sent. The challenge stays, and :func:`resend_code` works at once.
    """
    if remember:
        session.pop(REMEMBER_KEY, None)
    else:
        session[REMEMBER_KEY] = False
    return _pending().request_code(email, _look_up, next=next)


def resend_code() -> Challenge:
    """Send another code for this browser's challenge. The one before keeps working, and wrong attempts stay counted.

    Where the challenge has expired, a new one is made for the same address and the same ``next``.

    :raises NoChallenge: this browser has none, or it has been used.
    :raises TooManyAttempts: too many wrong codes have ended it.
    :raises RateLimited: too soon after the last code, or too many of them.
    :raises APIError: as :func:`request_code`.
    :raises MailError: the code could not be sent; this works again at once.
    """
    return _pending().resend_code(_look_up)


def sign_in_by_code(typed: str, *, remember: bool | None = None) -> User:
    """Sign this browser in by a code; one that it typed before, and that was right, is not needed again.

    When the API fails, this can be tried again without a code for as long as the challenge lasts, ten times at most; it
    succeeds once. An exception of one of the application's hooks propagates, and leaves the challenge as it is.

    :param remember: whether the browser stays signed in when it is closed; by default as :func:`request_code` was told.
    :raises NoChallenge: this browser has no challenge, or another request has used it.
    :raises InvalidCode: it is wrong, and counted; one of another length than codes have is not counted.
    :raises CodeExpired: it is past its lifetime.
    :raises TooManyAttempts: too many wrong codes have ended the challenge.
    :raises RateLimited: too many wrong codes for this address or from this client, over all challenges.
    :raises SignUpDisabled: there is no account, and none may be made. The challenge has ended.
    :raises SignInDenied: the application refused. The challenge has ended.
    :raises APIError: the API could not be reached; the challenge stays verified.
    """
    if remember is None:
        remember = session.get(REMEMBER_KEY) is not False
    challenge = _pending().prove(typed)
    with challenges.refusals_told("verify", challenge.identifier):
        return complete_sign_in(challenge, remember=remember)


def complete_sign_in(challenge: Challenge, *, remember: bool = True, method: str = "code") -> User:
    """Sign in the person behind a verified challenge, making the account where that is allowed.

    :param challenge: as it was found by the request that has verified it, open, or by a later one.
    :param remember: whether the browser stays signed in when it is closed.
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
    """Return the person behind a verified challenge, whether the account was made just now, and what they are to be.

    The account is made where that is allowed, and the application is asked.

    :returns: the user, whether this call made the account, and what ``current_user`` is to be.
    :raises ChatBotKitAuthError: as :func:`sign_in_by_code`.
    """
    auth = current_state()
    identifier = challenge.identifier
    # The first try needs no count: the gate has let through one request alone, and this is it.
    again = challenge.state is not State.OPEN
    if again and not auth.store.count_try(challenge.id, now=auth.clock(), max_tries=challenges.MAX_TRIES - 1):
        raise challenges.used_error()
    user, created = None, False
    try:
        user, created = _resolve(auth, identifier)
        if not user.is_active:
            raise SignInDenied
        user = auth.prepared(user)
        # The row keeps the API's own word; what this sign-in proves is told beside it.
        entering = auth.present(user if user.email_verified else replace(user, email_verified=auth.clock()))
        if entering is None:
            raise SignInDenied
    except ChatBotKitAuthError as error:
        level = logging.ERROR if isinstance(error, APIError) else logging.INFO
        _log.log(level, "sign-in of %s failed: %s", mask(identifier), error)
        if created:
            # The next try finds the account, and does not make it.
            emit(user_created, _app(), user=user)
        emit(sign_in_failed, _app(), identifier=identifier, error=error)
        if isinstance(error, (SignInDenied, SignUpDisabled)):
            # Another try would ask the API and the application the same again.
            auth.store.end_challenge(challenge.id)
        raise
    return user, created, entering


def tell(record: SessionRecord, *, created: bool) -> None:
    """Log and signal that a session was opened.

    :param created: whether the account was made just now.
    """
    user = shown(record)
    _log.info("signed in: user %s, %s", user.id, mask(record.identifier or ""))
    if created:
        emit(user_created, _app(), user=user)
    emit(user_signed_in, _app(), user=user, created=created, method=record.method)


def sign_out() -> None:
    """End this browser's session, in the store as well: a copy of its cookie is dead. Harmless when there is none.

    :raises StoreError: it could not be ended; the person is still signed in.
    """
    record = held_session()
    if record is not None:
        current_auth.registry.end(record.id)
    leave()
    if record is not None:
        emit(user_signed_out, _app(), user=record.user)


def pending() -> Challenge | None:
    """Return this browser's challenge if it can still lead to a sign-in, or ``None``."""
    try:
        return _pending().find_open()
    except (NoChallenge, CodeExpired, TooManyAttempts):
        return None


def latest() -> Challenge | None:
    """Return this browser's challenge whatever has become of it, for a page about an error; ``None`` without one."""
    return _pending().latest()


def proved(challenge: Challenge) -> bool:
    """Return whether this browser has typed the challenge's code, and needs none to be signed in."""
    return _pending().proved(challenge)


def pending_next() -> str | None:
    """Return the path that this browser's sign-in is to end at."""
    return _pending().next


def forget() -> None:
    """Have this browser forget its challenge."""
    _pending().forget()


def may_sign_up(identifier: str) -> bool:
    """Return whether an account may be made for this address: by the switch, and by the application's own word."""
    auth = current_state()
    return auth.adapter.auto_create and (auth.hooks.sign_up is None or bool(auth.hooks.sign_up(identifier)))


def _pending() -> Pending:
    return Pending("sign_in")


def _look_up(identifier: str) -> Recipient:
    """Return whether a code is sent, and to whom; where an account may be made everybody gets one, unseen."""
    if may_sign_up(identifier):
        return Recipient()
    user = current_auth.adapter.get_by_email(identifier)
    return Recipient(gets_code=user is not None, user=user, hidden=True)


def _resolve(auth: AuthState, identifier: str) -> tuple[User, bool]:
    """Return the account of the address, made where that is allowed, and whether this call made it.

    Every account that this call did not make goes through the application's callback, however the adapter found it.
    """
    approved: set[str] = set()

    def approve(found: User | None) -> None:
        if found is None and not may_sign_up(identifier):
            raise SignUpDisabled
        auth.approve(identifier, found)
        if found is not None:
            approved.add(found.id)

    # An adapter of the application's own need not know the fields, unless the application gives some.
    fields = () if auth.hooks.new_user is None else (lambda: auth.new_user_fields(identifier),)
    user, created = auth.adapter.resolve(identifier, approve, *fields)
    if not created and user.id not in approved:
        approve(user)
    return user, created


def _app() -> object:
    return current_app._get_current_object()  # type: ignore[attr-defined]
