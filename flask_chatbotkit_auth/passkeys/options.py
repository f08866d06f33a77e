"""The options for a browser: to create a passkey, or to sign in with one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..stores.passkeys import Passkey
from ..user import User
from .base64url import to_base64url
from .challenges import CHALLENGE_LIFETIME, Challenge

MAX_PASSKEYS = 20
"""The most passkeys that one person can have."""

ALGORITHMS = (-7, -257, -8)
"""The COSE algorithms that are accepted: ES256, RS256 and EdDSA."""

_TIMEOUT = int(CHALLENGE_LIFETIME / timedelta(milliseconds=1))


@dataclass(frozen=True)
class RelyingParty:
    """The site that passkeys belong to (WebAuthn: the relying party)."""

    id: str
    """The domain that passkeys belong to, such as ``"example.com"``. With another one, every passkey stops working."""

    name: str
    """The product's name, which the browser shows."""

    origins: tuple[str, ...]
    """The exact origins whose pages can ask for a passkey, such as ``"https://shop.example.com"``."""


def user_handle(user_id: str) -> bytes:
    """Return the 32 bytes that name the owner in a passkey. They never change, and do not reveal the id."""
    return hashlib.sha256(b"flask-chatbotkit-auth: passkey user handle:" + user_id.encode()).digest()


def creation_options(
    party: RelyingParty, user: User, challenge: Challenge, existing: Iterable[Passkey], *, offer: bool = False
) -> dict[str, Any]:
    """Return the options for ``navigator.credentials.create``, as JSON with base64url for bytes.

    :param existing: the passkeys that the person has, so that a device does not create a second one.
    :param offer: whether this is the offer after a sign-in, which is only about this device.
    """
    selection: dict[str, Any] = {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    if offer:
        selection["authenticatorAttachment"] = "platform"
    return {
        "rp": {"id": party.id, "name": party.name},
        "user": {
            "id": to_base64url(user_handle(user.id)),
            "name": user.email,
            "displayName": user.name or user.email,
        },
        "challenge": challenge.text,
        "pubKeyCredParams": [{"type": "public-key", "alg": each} for each in ALGORITHMS],
        "timeout": _TIMEOUT,
        "excludeCredentials": [
            {"type": "public-key", "id": each.credential_id, "transports": list(each.transports)} for each in existing
        ],
        "authenticatorSelection": selection,
        "attestation": "none",
        "extensions": {"credProps": True},
    }


def request_options(party: RelyingParty, challenge: Challenge) -> dict[str, Any]:
    """Return the options for ``navigator.credentials.get``.

    They name no credential, so that nobody learns from them who has a passkey.
    """
    return {
        "challenge": challenge.text,
        "rpId": party.id,
        "timeout": _TIMEOUT,
        "userVerification": "required",
        "allowCredentials": [],
    }
