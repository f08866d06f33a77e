"""What a browser is asked for: to make a passkey, or to sign with one."""

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
"""Passkeys that one person may have."""

ALGORITHMS = (-7, -257, -8)
"""COSE algorithms that a passkey may sign with: ES256, RS256 and EdDSA."""

_TIMEOUT = int(CHALLENGE_LIFETIME / timedelta(milliseconds=1))


@dataclass(frozen=True)
class RelyingParty:
    """Who a passkey is for, as browsers see it."""

    id: str
    """The domain that passkeys belong to, such as ``"example.com"``. With another one, every passkey stops working."""

    name: str
    """The product's name, which the browser shows."""

    origins: tuple[str, ...]
    """The exact origins whose pages may ask for one, such as ``"https://shop.example.com"``."""


def user_handle(user_id: str) -> bytes:
    """Return the 32 bytes by which a passkey names its owner: they never change, and do not show the id."""
    return hashlib.sha256(b"flask-chatbotkit-auth: passkey user handle:" + user_id.encode()).digest()


def creation_options(
    party: RelyingParty, user: User, challenge: Challenge, existing: Iterable[Passkey], *, offer: bool = False
) -> dict[str, Any]:
    """Return what ``navigator.credentials.create`` is asked for, as JSON with base64url for bytes.

    :param existing: the passkeys that the person has, so that one device does not make two.
    :param offer: it is the offer after a sign-in, which is about this device only.
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
    """Return what ``navigator.credentials.get`` is asked for.

    It names no credential, so that nobody learns from it who has a passkey.
    """
    return {
        "challenge": challenge.text,
        "rpId": party.id,
        "timeout": _TIMEOUT,
        "userVerification": "required",
        "allowCredentials": [],
    }
