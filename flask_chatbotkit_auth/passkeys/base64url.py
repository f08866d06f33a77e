"""Bytes as base64url, as WebAuthn writes them in JSON."""

from __future__ import annotations

import base64
import binascii

from ..exceptions import InvalidPasskey


def to_base64url(value: bytes) -> str:
    """Return bytes as base64url without padding, as WebAuthn writes them."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Return the bytes of a base64url text.

    :raises InvalidPasskey: it is not base64url.
    """
    if "+" in text or "/" in text:  # which Python takes for "-" and "_", with a warning from 3.15 on
        raise InvalidPasskey("a text is not base64url")
    try:
        value = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidPasskey("a text is not base64url") from None
    if to_base64url(value) != text.rstrip("="):
        raise InvalidPasskey("a text is not base64url in its one form")
    return value
