"""Keys that are derived from the application's ``SECRET_KEY``, one for each purpose, and digests with them."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

NO_SECRET_KEY = "SECRET_KEY is not set. Make one with: python -c 'import secrets; print(secrets.token_hex())'"  # noqa: S105  # a sentence

_DIGEST = re.compile("[0-9a-f]{64}")


def secret_keys(config: Mapping[str, Any]) -> list[str | bytes]:
    """Return ``SECRET_KEY``, and after it each key of ``SECRET_KEY_FALLBACKS``. Empty ones are left out.

    Call it at each use, since an application can set or rotate its keys after ``init_app``.
    """
    return [key for key in (config.get("SECRET_KEY"), *(config.get("SECRET_KEY_FALLBACKS") or ())) if key]


@lru_cache(maxsize=64)
def derive(secret_key: str | bytes, purpose: str) -> bytes:
    """Return the key for ``purpose``. A signature for one purpose is invalid for every other.

    :param secret_key: a text is encoded as UTF-8, as Flask does.
    """
    key = secret_key.encode() if isinstance(secret_key, str) else secret_key
    return hmac.digest(key, f"flask-chatbotkit-auth: {purpose}, version 1".encode(), "sha256")


def is_digest(text: str) -> bool:
    """Return whether a text is a SHA-256 in hexadecimal, as the ids of sessions and passkeys are.

    An id in a URL can be any text, and not every database accepts a text with a NUL.
    """
    return _DIGEST.fullmatch(text) is not None


def keyed_digest(secret_key: str | bytes, purpose: str, *parts: str) -> str:
    """Return the HMAC-SHA256 of ``parts`` with the key for ``purpose``, as 64 hexadecimal digits."""
    mac = _begun(secret_key, purpose).copy()
    mac.update("\0".join(parts).encode())
    return mac.hexdigest()


@lru_cache(maxsize=64)
def _begun(secret_key: str | bytes, purpose: str) -> hmac.HMAC:
    # To be copied: beginning it takes OpenSSL longer than all the rest.
    return hmac.new(derive(secret_key, purpose), digestmod="sha256")
