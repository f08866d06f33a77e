"""The challenge that a browser signs. It is random and dated, and bound to a purpose, a browser and a person."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..clock import from_milliseconds, to_milliseconds
from ..exceptions import InvalidPasskey, PasskeyExpired
from ..keys import derive
from .base64url import from_base64url, to_base64url

CHALLENGE_LIFETIME = timedelta(minutes=10)
"""How long after the options a browser can answer."""

_RANDOM, _EXPIRY, _MAC = 16, 8, 32


@dataclass(frozen=True)
class Challenge:
    """What the browser signs. It is not stored before a valid answer arrives."""

    text: str
    """The challenge in base64url, as the browser receives and returns it."""

    nonce: str
    """Its SHA-256 in hexadecimal, under which the store keeps that it was used."""

    expires_at: datetime


class Challenges:
    """Makes challenges and checks them. They are signed with a key that is derived from ``SECRET_KEY``.

    A challenge is bound to its purpose, to the browser that asked, and to the person for whom a passkey is made.

    :param keys: returns the current secret key, and after it the earlier ones. It is called at each use.
    """

    def __init__(self, keys: Callable[[], Sequence[str | bytes]]) -> None:
        self._keys = keys

    def new(self, *, purpose: str, browser: str, now: datetime, user_id: str = "") -> Challenge:
        """Return a new challenge.

        :param purpose: ``"create"`` or ``"get"``.
        :param browser: a secret of this browser's session.
        :param user_id: the person for whom a passkey is made; ``""`` for ``"get"``, where the person is not known yet.
        """
        expires_at = now + CHALLENGE_LIFETIME
        head = secrets.token_bytes(_RANDOM) + to_milliseconds(expires_at).to_bytes(_EXPIRY, "big")
        mac = _sign(self._keys()[0], head, purpose, browser, user_id)
        return _challenge(head + mac, expires_at)

    def check(self, text: str, *, purpose: str, browser: str, now: datetime, user_id: str = "") -> Challenge:
        """Return the challenge in a browser's answer, if it is valid.

        :raises InvalidPasskey: it was not made here, or was made for another purpose, person or browser.
        :raises PasskeyExpired: it is older than :data:`CHALLENGE_LIFETIME`.
        """
        value = from_base64url(text)
        if len(value) != _RANDOM + _EXPIRY + _MAC:
            raise InvalidPasskey("the challenge has the wrong length")
        head, mac = value[:-_MAC], value[-_MAC:]
        if not any(hmac.compare_digest(mac, _sign(key, head, purpose, browser, user_id)) for key in self._keys()):
            raise InvalidPasskey("the challenge was not made here, for this browser and this purpose")
        expires_at = from_milliseconds(int.from_bytes(head[_RANDOM:], "big"))
        if expires_at <= now:
            raise PasskeyExpired
        return _challenge(value, expires_at)


def _challenge(value: bytes, expires_at: datetime) -> Challenge:
    return Challenge(to_base64url(value), hashlib.sha256(value).hexdigest(), expires_at)


def _sign(key: str | bytes, head: bytes, *parts: str) -> bytes:
    # Each part is preceded by its length, so that different lists of parts never give the same message.
    message = b"".join(len(each).to_bytes(4, "big") + each for each in (head, *(part.encode() for part in parts)))
    return hmac.new(derive(key, "passkey challenges"), message, hashlib.sha256).digest()
