"""The token of a session, which only its client holds, and the id that the store has of it."""

from __future__ import annotations

import hashlib
import re
import secrets

from ..stores.records import Client

TOKEN_PREFIX = "cbk-"  # noqa: S105  # a prefix, not a password
"""The prefix of the token of a browser's session. It distinguishes tokens from an application's own user ids."""

APP_TOKEN_PREFIX = "cba-"  # noqa: S105  # a prefix, not a password
"""The prefix of the token of an app's session. A cookie's token does not work as a bearer token, or the reverse."""


def new_token(client: Client) -> str:
    """Return a new token of 128 random bits."""
    return (APP_TOKEN_PREFIX if client == "app" else TOKEN_PREFIX) + secrets.token_hex(16)


def is_token(token: str) -> bool:
    """Return whether a text has the form of a token."""
    return re.fullmatch(f"({TOKEN_PREFIX}|{APP_TOKEN_PREFIX})[0-9a-f]{{32}}", token) is not None


def session_id(token: str) -> str:
    """Return the id of the session of ``token`` in the store: its SHA-256 in hexadecimal.

    A fast hash is enough, since a token of 128 random bits cannot be guessed.
    """
    return hashlib.sha256(token.encode()).hexdigest()
