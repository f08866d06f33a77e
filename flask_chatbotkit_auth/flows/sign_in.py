"""The sign-in, step by step: the one path under pages and JSON.

Each function works on the browser's own challenge, whose id is in its signed session cookie, and raises an exception of
:mod:`~flask_chatbotkit_auth.exceptions` where it ends early. None of them knows how an answer looks.
"""

from __future__ import annotations

import logging
from datetime import datetime

from flask import current_app, request, session
from flask_login import current_user

from ..exceptions import APIError, ChatBotKitAuthError, CodeExpired, NoChallenge, SignInDenied, TooManyAttempts
from ..identifier import mask, normalize_identifier
from ..login import current_session, enter, leave, renew
from ..mail.verification import VerificationRequest
from ..remote import client_address
from ..signals import emit, sign_in_failed, user_created, user_signed_in, user_signed_out
from ..state import current_auth
from ..stores.base import Challenge, State
from ..user import User
from . import challenges

_log = logging.getLogger("flask_chatbotkit_auth")

_SESSION_KEY = "chatbotkit_auth"


def request_code(email: str, *, next: str | None = None) -> Challenge:
    """Begin a sign-in: make a challenge for ``email`` and send its first code.

    Whether an account exists shows in nothing that comes back, nor in how long it takes.

    :param next: a checked path to go to afterwards.
    :raises InvalidEmail: it is not one address.
    :raises RateLimited: too many requests for this address or from this client.
    :raises APIError: auto create is off and the account could not be looked up; no challenge was made.
    :raises MailError: the code could not be sent. The challenge stays, and :func:`resend_code` works at once.
    """
    identifier = normalize_identifier(email)
    challenges.count_request(identifier)
    known, user = _look_up(identifier)
    challenge, code = challenges.create(identifier)
    session[_SESSION_KEY] = {"challenge": challenge.id, **({"next": next} if next else {})}
    _deliver(challenge, code, challenge.expires_at, known, user)
    return challenge


def resend_code() -> Challenge:
    """Send another code for this browser's challenge. The earlier ones keep working, and wrong attempts stay counted.

    After the challenge's own expiry: make a new one for the same address and ``next``.

    :raises NoChallenge: this browser has none, or it has been used.
    :raises TooManyAttempts: too many wrong codes have ended it.
    :raises RateLimited: too soon after the last code, or too many of them.
    :raises MailError: the code could not be sent; this works again at once.
    """
    try:
        challenge = _open_challenge()
    except CodeExpired:
        before = latest()
        if before is None:
            raise
        return request_code(before.identifier, next=pending_next())
    if proved(challenge):
        return challenge
    if challenge.state is State.VERIFIED:
        raise challenges.spent()
    challenges.require_resend(challenge)
    challenges.count_request(challenge.identifier)
    known, user = _look_up(challenge.identifier)
    code, expires_at = challenges.add_code(challenge)
    _deliver(challenge, code, expires_at, known, user)
    return challenges.find(challenge.id)


def verify_code(typed: str) -> Challenge:
    """Try a code on this browser's challenge; one that this browser has proved before needs none.

    :returns: the challenge, verified: go on with :func:`complete_sign_in`.
    :raises NoChallenge: this browser has none, or it has been used.
    :raises InvalidCode: it is wrong, and counted; one that is empty is not counted.
    :raises CodeExpired: it is past its lifetime.
    :raises TooManyAttempts: too many wrong codes have ended the challenge.
    :raises RateLimited: too many wrong codes for this address or from this client, over all challenges.
    """
    challenge = _open_challenge()
    if not proved(challenge):
        challenges.try_code(challenge, typed)
        session[_SESSION_KEY] = {**session[_SESSION_KEY], "proved": True}
        renew()
    return challenge


def complete_sign_in(challenge: Challenge) -> User:
    """Sign in the person behind a verified challenge, making the account where that is allowed.

    It can be tried again, without a new code, for as long as the challenge lasts; it succeeds once.

    :raises SignUpDisabled: there is no account, and auto create is off.
    :raises SignInDenied: the application refused.
    :raises APIError: the API could not be reached; the challenge stays verified.
    :raises NoChallenge: another request has completed it.
    """
    auth = current_auth
    identifier = challenge.identifier
    try:
        user, created = auth.adapter.resolve(identifier, lambda found: _approve(identifier, found))
        mapped = auth.hooks.user(user) if auth.hooks.user else None
        entering = user if mapped is None else mapped
        if not entering.is_active:
            raise SignInDenied
    except ChatBotKitAuthError as error:
        level = logging.ERROR if isinstance(error, APIError) else logging.INFO
        _log.log(level, "sign-in of %s failed: %s", mask(identifier), error)
        emit(sign_in_failed, _app(), identifier=identifier, error=error)
        raise
    token, record = auth.registry.draft(
        user, ip=client_address(request.remote_addr), user_agent=request.user_agent.string[:400] or None
    )
    if not auth.store.complete(challenge.id, record, now=auth.clock()):
        raise challenges.spent()
    before = current_session()
    if before is not None:
        auth.registry.end(before.id)
    auth.registry.remember(record)
    enter(entering, token, record, lifetime=auth.config.session_lifetime)
    _log.info("signed in: user %s, %s", user.id, mask(identifier))
    if created:
        emit(user_created, _app(), user=user)
    emit(user_signed_in, _app(), user=user, created=created)
    return user


def sign_out() -> None:
    """End this browser's session, in the store as well: a copy of its cookie is dead. Harmless when there is none.

    :raises StoreError: it could not be ended; the person is still signed in.
    """
    user = current_user._get_current_object()
    record = current_session()
    if record is not None:
        current_auth.registry.end(record.id)
    leave()
    if record is not None:
        emit(user_signed_out, _app(), user=user)


def pending() -> Challenge | None:
    """Return this browser's challenge if it can still lead to a sign-in, or ``None``."""
    try:
        return _open_challenge()
    except (NoChallenge, CodeExpired, TooManyAttempts):
        return None


def latest() -> Challenge | None:
    """Return this browser's challenge whatever has become of it, for a page about an error; ``None`` without one."""
    entry = session.get(_SESSION_KEY)
    id = entry.get("challenge") if isinstance(entry, dict) else None
    return current_auth.store.get_challenge(id) if isinstance(id, str) else None


def proved(challenge: Challenge) -> bool:
    """Return whether this browser has proved its challenge by a code, and needs none to complete it.

    That the challenge is verified is not enough: another browser, with a copy of this one's cookie, may have done it. Whoever
    planted theirs in somebody's browser, and had them type the code there, must not come in while the API is slow.
    """
    entry = session.get(_SESSION_KEY)
    return challenge.state is State.VERIFIED and isinstance(entry, dict) and bool(entry.get("proved"))


def pending_next() -> str | None:
    """Return the path that this browser's sign-in is to end at."""
    entry = session.get(_SESSION_KEY)
    return entry.get("next") if isinstance(entry, dict) else None


def forget() -> None:
    """Drop this browser's challenge from its session."""
    session.pop(_SESSION_KEY, None)


def _open_challenge() -> Challenge:
    entry = session.get(_SESSION_KEY)
    return challenges.require_open(challenges.find(entry.get("challenge") if isinstance(entry, dict) else None))


def _look_up(identifier: str) -> tuple[bool, User | None]:
    """Return whether a code may be sent, and to whom; with auto create on everybody gets one, unseen."""
    if current_auth.adapter.auto_create:
        return True, None
    user = current_auth.adapter.get_by_email(identifier)
    return user is not None, user


def _deliver(challenge: Challenge, code: str, expires_at: datetime, known: bool, user: User | None) -> None:
    auth = current_auth
    if known:
        challenges.deliver(challenge, code, expires_at, user)
        return
    with challenges.sending(challenge):
        if auth.config.unknown_user == "mail":
            auth.mailer.send_unknown(challenge.identifier)
        else:
            auth.mailer.rehearse(VerificationRequest.of(challenge, code, expires_at))


def _approve(identifier: str, found: User | None) -> None:
    callback = current_auth.hooks.sign_in
    if callback is None:
        return
    answer = callback(identifier, found or User(id="", email=identifier, kind=current_auth.kind))
    if answer is False:
        raise SignInDenied
    if isinstance(answer, str):
        raise SignInDenied(answer)


def _app() -> object:
    return current_app._get_current_object()  # type: ignore[attr-defined]
