"""Changing the email address: a fresh sign-in, a code to the new address, and then the change."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from flask import request

from ..device import device_name
from ..devices import remember_device
from ..exceptions import CodeExpired, EmailTaken, NoChallenge, RateLimited, SignInDenied, TooManyAttempts
from ..identifier import mask, same_identifier
from ..languages import current_language
from ..login import go_on
from ..proxies import running_app
from ..signals import email_changed, emit, user_updated
from ..state import current_auth, current_state
from ..stores.base import Challenge, SessionRecord, State
from ..user import User
from . import challenges
from .counting import telling_limits
from .delivery import Recipient
from .pending import Pending

_log = logging.getLogger("flask_chatbotkit_auth")

FRESH = timedelta(minutes=10)
"""How old the last proof can be when a change begins."""

_LEASE = timedelta(minutes=1)


def require_fresh(record: SessionRecord) -> None:
    """Raise unless the person has recently signed in with a code or a passkey.

    :raises NotFresh: the last proof is too old.
    """
    current_auth.require_fresh(record, max_age=min(FRESH, current_auth.config.fresh))


def request_code(record: SessionRecord, email: str) -> Challenge:
    """Send a code to the new address, or another code. Earlier codes still work, and wrong codes stay counted.

    Nobody learns whether the address has an account before it is proved.

    :raises InvalidEmail: it is not an address.
    :raises NotFresh: the last proof is too old to begin a change.
    :raises RateLimited: too many changes of this person, or too many codes for this address or from this client.
    :raises MailError: the code could not be sent. Another can be sent at once.
    """
    user = record.user
    challenge = pending(user)
    # A challenge that another browser has verified, or that a request has claimed and not released, cannot be used here.
    usable = challenge is not None and (challenge.state is State.OPEN or proved(user))
    if challenge is not None and usable and same_identifier(email.strip(), challenge.identifier):
        return _pending(user).resend_code(lambda _identifier: Recipient(user=user))
    require_fresh(record)

    def count_change(identifier: str) -> Recipient:
        with challenges.refusals_told("request", identifier), telling_limits(user.email):
            current_auth.limiter.hit("change:user", user.id)
        return Recipient(user=user)

    return _pending(user).request_code(email, count_change)


def change_address(record: SessionRecord, typed: str) -> User:
    """Change the address of the person's account, end their other sessions, and give this browser a new session.

    A right code is remembered: if the API fails, the person can try again without a code until the challenge expires. If a
    code is sent several times at once, the address is changed once. The old address gets a notice.

    :param typed: the code.
    :returns: the user as it is afterwards.
    :raises NoChallenge: this browser has no challenge of this person, or another request has used it.
    :raises InvalidCode: the code is wrong, and was counted. A code of the wrong length is not counted.
    :raises CodeExpired: the challenge has expired.
    :raises TooManyAttempts: too many wrong codes have ended the challenge.
    :raises RateLimited: too many wrong codes, or another change of this person is in progress.
    :raises EmailTaken: the new address already has an account. The challenge has ended.
    :raises SignInDenied: the application refuses a person with this address. The challenge has ended.
    :raises APIError: the API could not be reached, or refused. The address is unchanged.
    """
    auth, user = current_state(), record.user
    challenge = _pending(user).prove(typed)
    if not auth.store.claim(challenge.id, now=auth.clock(), max_tries=challenges.MAX_TRIES):
        raise challenges.used_error()
    try:
        with _one_at_a_time(user):
            token, moved = _move(record, challenge.identifier)
    except (EmailTaken, SignInDenied):
        # Trying again would give the same result.
        auth.store.end_challenge(challenge.id)
        raise
    except BaseException:
        auth.store.unclaim(challenge.id)
        raise
    challenges.finish(challenge)
    _pending(user).forget()
    go_on(auth, token, moved)
    remember_device(challenge.identifier, lifetime=auth.config.device_lifetime, now=auth.clock())
    return moved.user


def pending(user: User) -> Challenge | None:
    """Return the person's challenge in this browser if it can still be used, or ``None``."""
    try:
        return _pending(user).find_open()
    except (NoChallenge, CodeExpired, TooManyAttempts):
        return None


def proved(user: User) -> bool:
    """Return whether this browser has typed the right code, and needs no other one to change the address."""
    challenge = pending(user)
    return challenge is not None and challenge.state is State.VERIFIED and _pending(user).proved(challenge)


def _pending(user: User) -> Pending:
    return Pending("address", user_id=user.id)


@contextmanager
def _one_at_a_time(user: User) -> Iterator[None]:
    """Allow one change of an account at a time. Two at once would end each other's session."""
    auth = current_state()
    now = auth.clock()
    name, until = f"address:{user.id}", now + _LEASE
    if not auth.store.lease(name, now=now, until=until):
        raise RateLimited(2, "change:running")
    try:
        yield
    finally:
        auth.store.release(name, until=until)


def _move(record: SessionRecord, identifier: str) -> tuple[str, SessionRecord]:
    auth, user = current_state(), record.user
    if auth.store.get_session(record.id, now=auth.clock()) is None:
        # Another change was faster, or this browser was signed out meanwhile.
        raise challenges.used_error()
    # The next refresh asks the application about the new address, so a refusal must come now.
    auth.approve(identifier, replace(user, email=identifier))
    updated = auth.adapter.update(user.id, email=identifier, email_verified=auth.clock())
    try:
        if user.email != identifier:
            # Before the sessions: a sign-in by the old address that is under way has a session by now, or gets none.
            auth.store.end_challenges(user.email, now=auth.clock())
        return auth.registry.move(updated, identifier, client=record.client, name=record.name)
    finally:
        # The owner of the old mailbox must hear of it, whatever fails after the change.
        _tell(user, updated)


def _tell(before: User, user: User) -> None:
    auth = current_state()
    app = running_app()
    _log.info("address changed: user %s, from %s to %s", user.id, mask(before.email), mask(user.email))
    emit(user_updated, app, user=user, fields=["email"])
    emit(email_changed, app, user=user, before=before.email)
    # To the old address, with the user as they were: the owner of that mailbox must know.
    device = device_name(request.user_agent.string, current_language())
    auth.notices.send("email_changed", before, device=device, email=mask(user.email))
