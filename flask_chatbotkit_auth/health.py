"""The check of ``current_auth.check``: it tries whether sign-in works."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from .exceptions import ChatBotKitAuthError, StoreError
from .ratelimit import RateLimiter
from .sessions import SessionRegistry, session_id
from .stores.base import Challenge, Outcome, Store
from .user import User

_IDENTIFIER = "doctor@example.invalid"
_MOMENT = timedelta(minutes=1)
_LIMIT = "verify:again"
"""A limit that cannot be switched off."""


def check(store: Store, limiter: RateLimiter, registry: SessionRegistry, now: datetime, *, deep: bool) -> None:
    """Raise unless sign-in can work.

    :param deep: also write a challenge, a wrong and a right code, a session and a count. They are deleted again, except for
        the challenge, which expires after a minute and is purged like any other.
    :raises StoreError: sign-in cannot work. The text says why.
    """
    try:
        store.ping()
        if not limiter.check():
            raise StoreError("attempts cannot be counted; check CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI")
        if deep:
            count(limiter)
            _play(store, registry, now)
    except ChatBotKitAuthError:
        raise
    except Exception as error:
        raise StoreError(f"the sign-in store failed ({type(error).__name__})") from error


def count(limiter: RateLimiter) -> None:
    """Count an attempt of nobody, and delete the count.

    :raises StoreError: attempts cannot be counted. The text says why.
    """
    nobody = secrets.token_hex(16)
    limiter.hit(_LIMIT, nobody)
    limiter.clear(_LIMIT, nobody)


def _play(store: Store, registry: SessionRegistry, now: datetime) -> None:
    challenge = Challenge(secrets.token_hex(16), _IDENTIFIER, sent_at=now, expires_at=now + _MOMENT)
    right, wrong = secrets.token_hex(32), secrets.token_hex(32)
    store.add_challenge(challenge, right)
    _expect(store.get_challenge(challenge.id) is not None, "a challenge that was written cannot be read")
    tried = [store.try_code(challenge.id, [digest], now=now, max_attempts=2).outcome for digest in (wrong, right)]
    _expect(tried == [Outcome.WRONG, Outcome.ACCEPTED], "a code is not compared as it should be")

    user = User(
        id=f"doctor-{secrets.token_hex(8)}", email=_IDENTIFIER, name="Döctor 🩺", meta={"note": "é"}, kind="partner"
    )
    token, draft = registry.draft(user, identifier=_IDENTIFIER, method="code")
    record = replace(draft, id=session_id(token), expires_at=now + _MOMENT, ip="2001:db8::1", user_agent="doctor")
    try:
        _expect(store.complete(challenge.id, record, now=now), "a challenge cannot be completed")
        read = store.get_session(record.id, now=now)
        _expect(
            read is not None and (read.user, read.ip, read.user_agent) == (user, record.ip, record.user_agent),
            ("a session is read back other than it was written"),
        )
        store.touch_session(record.id, seen_at=now, expires_at=record.expires_at)
    finally:
        store.end_session(record.id)


def _expect(as_it_should_be: bool, otherwise: str) -> None:
    if not as_it_should_be:
        raise StoreError(f"{otherwise}: the store, or something between it and us, answers wrongly")
