"""Keys that are derived from the application's ``SECRET_KEY``, one for each purpose, and digests under them."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_DIGEST = re.compile("[0-9a-f]{64}")


def secret_keys(config: Mapping[str, Any]) -> list[str | bytes]:
    """Return ``SECRET_KEY`` and, after it, each key of ``SECRET_KEY_FALLBACKS``; empty ones are left out.

    Read it at each use: an application may set or rotate its keys after ``init_app``.
    """
    return [key for key in (config.get("SECRET_KEY"), *(config.get("SECRET_KEY_FALLBACKS") or ())) if key]


@lru_cache(maxsize=64)
def derive(secret_key: str | bytes, purpose: str) -> bytes:
    """Return the key for ``purpose``: what is made for one purpose is worth nothing for another.

    :param secret_key: a text stands for its UTF-8 bytes, as it does in Flask.
    """
    key = secret_key.encode() if isinstance(secret_key, str) else secret_key
    return hmac.new(key, f"flask-chatbotkit-auth: {purpose}, version 1".encode(), hashlib.sha256).digest()


def is_digest(text: str) -> bool:
    """Return whether a text is a SHA-256 in hexadecimal, as the ids of sessions and passkeys are.

    An id in a URL may be anything, and not every database takes a text with a NUL.
    """
    return _DIGEST.fullmatch(text) is not None


def keyed_digest(secret_key: str | bytes, purpose: str, *parts: str) -> str:
    """Return HMAC-SHA256 over ``parts`` under the key for ``purpose``: 64 hexadecimal digits."""
    return hmac.new(derive(secret_key, purpose), "\0".join(parts).encode(), hashlib.sha256).hexdigest()
