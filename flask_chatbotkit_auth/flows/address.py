"""Changing the address: a fresh proof of who it is, a code to the new address, then the change, at the very end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from flask import current_app, request

from ..device import device_name
from ..devices import remember_device
from ..exceptions import CodeExpired, EmailTaken, NoChallenge, RateLimited, SignInDenied, TooManyAttempts
from ..identifier import mask, same_identifier
from ..languages import current_language
from ..login import go_on
from ..signals import email_changed, emit, user_updated
from ..state import current_auth, current_state
from ..stores.base import Challenge, SessionRecord, State
from ..user import User
from . import challenges
from .challenges import Recipient
from .counting import telling_limits
from .pending import Pending

_log = logging.getLogger("flask_chatbotkit_auth")

FRESH = timedelta(minutes=10)
"""How old the last proof may be, at most, when a change begins."""

_LEASE = timedelta(minutes=1)


def require_fresh(record: SessionRecord) -> None:
    """Raise unless the person has proved lately who they are: by a code, or by a passkey.

    :raises NotFresh: they have not.
    """
    current_auth.require_fresh(record, max_age=min(FRESH, current_auth.config.fresh))


def request_code(record: SessionRecord, email: str) -> Challenge:
    """Send a code to the new address, or another one: the one before keeps working, and wrong attempts stay counted.

    Whether the address has an account is not told before it is proved.

    :raises InvalidEmail: it is not one address.
    :raises NotFresh: the last proof of who it is is too old to begin a change.
    :raises RateLimited: too many changes of this person, or too many codes for this address or from this client.
    :raises MailError: the code could not be sent; this works again at once.
    """
    user = record.user
    challenge = pending(user)
    # One that another browser has verified, or that a request claimed and never gave back, is of no use here.
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
    """Give the person's account the new address, end their other sessions, and have this browser go on in a new one.

    A right code is remembered: while the API fails, none is needed to try again for as long as the challenge lasts.
    However often one code is sent at once, the address is changed once. The old address gets a notice.

    :param typed: the code.
    :returns: the user as it is afterwards.
    :raises NoChallenge: no code was sent to this person in this browser, or another request has used it.
    :raises InvalidCode: it is wrong, and counted; one of another length than codes have is not counted.
    :raises CodeExpired: it is past its lifetime.
    :raises TooManyAttempts: too many wrong codes have ended the challenge.
    :raises RateLimited: too many wrong codes, or another change of this person is at work just now.
    :raises EmailTaken: the new address has an account. The challenge has ended.
    :raises SignInDenied: the application would not let in a person with this address. The challenge has ended.
    :raises APIError: the API could not be reached or refused; the address is as it was.
    """
    auth, user = current_state(), record.user
    challenge = _pending(user).prove(typed)
    if not auth.store.claim(challenge.id, now=auth.clock(), max_tries=challenges.MAX_TRIES):
        raise challenges.used_error()
    try:
        with _one_at_a_time(user):
            token, moved = _move(record, challenge.identifier)
    except (EmailTaken, SignInDenied):
        # Another try would ask the same again.
        auth.store.end_challenge(challenge.id)
        raise
    except BaseException:
        auth.store.unclaim(challenge.id)
        raise
    auth.store.finish(challenge.id)
    _pending(user).forget()
    go_on(auth, token, moved)
    remember_device(challenge.identifier, lifetime=auth.config.device_lifetime, now=auth.clock())
    _tell(user, moved.user)
    return moved.user


def pending(user: User) -> Challenge | None:
    """Return the person's challenge in this browser if it can still lead to the end, or ``None``."""
    try:
        return _pending(user).find_open()
    except (NoChallenge, CodeExpired, TooManyAttempts):
        return None


def proved(user: User) -> bool:
    """Return whether this browser has typed the right code, and needs none to change the address."""
    challenge = pending(user)
    return challenge is not None and challenge.state is State.VERIFIED and _pending(user).proved(challenge)


def _pending(user: User) -> Pending:
    return Pending("address", user_id=user.id)


@contextmanager
def _one_at_a_time(user: User) -> Iterator[None]:
    """Let no other change of the same account in: of two at once, each would end the other's session."""
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
        # Another change was faster, or somebody has signed this browser out meanwhile.
        raise challenges.used_error()
    # At the next refresh the application is asked about the new address: it had better refuse now.
    auth.approve(identifier, replace(user, email=identifier))
    updated = auth.adapter.update(user.id, email=identifier, email_verified=auth.clock())
    return auth.registry.move(updated, identifier, client=record.client, name=record.name)


def _tell(before: User, user: User) -> None:
    auth = current_state()
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    _log.info("address changed: user %s, from %s to %s", user.id, mask(before.email), mask(user.email))
    emit(user_updated, app, user=user, fields=["email"])
    emit(email_changed, app, user=user, before=before.email)
    # To the old address, and about the user as they were: their mailbox is the one that has to know.
    device = device_name(request.user_agent.string, current_language())
    auth.notices.send("email_changed", before, device=device, email=mask(user.email))
